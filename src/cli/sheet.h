/*
 * sheet.h - --picture: the sampled frames as a labelled sheet, and what became of each for the last question.
 *
 *   question, answer | frames: colour of the border = resolution, grey = dropped, dark = places without a token | mel of the sound | legend
 *
 * The frames are decoded once more, at the size they have on the sheet, so that memory holds the sheet and no more.
 */
#ifndef VR_SHEET_H
#define VR_SHEET_H

#include "base/err.h"
#include "vidrun.h"

enum {
    VR_SHEET_FRAMES = 400,  /* at most; of more an even selection */
    VR_SHEET_WIDTH = 1600,  /* pixels, at most */
    VR_SHEET_HEIGHT = 1400, /* of all frames together, at most unless they would become too small */
    VR_SHEET_LEAST = 16     /* width of a frame's picture */
};

/* Where the frames go. The picture of cell i: vr_sheet_cell. */
typedef struct vr_sheet_layout {
    int n_frames, columns, lines;
    int frame_width, frame_height; /* of a picture */
    int border, gap;               /* around a picture, outside of it; between two borders */
    int scale, label_height;       /* of the text below */
    int width, height;             /* of all */
} vr_sheet_layout;

/* The largest pictures that fit, on as few lines as possible; n_frames, width, height >= 1. */
vr_sheet_layout vr_sheet_layout_for(int n_frames, int width, int height);
void vr_sheet_cell(const vr_sheet_layout *layout, int i, int *x, int *y);
/* Which of n_frames is shown in cell i. */
int vr_sheet_position(const vr_sheet_layout *layout, int n_frames, int i);

/* After an answer. VR_ERR_OTHER where the file cannot be written. */
int vr_sheet_write(const char *path, vr_session *session, const char *question, const char *answer, vr_err *e);

#endif
