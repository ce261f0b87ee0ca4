/*
 * canvas.h - an RGB picture to draw on: rectangles, frames of video, text in a small font of our own.
 *
 *   vr_canvas_open -> fill, picture, text -> media/png.c
 *
 * Everything is clipped to the canvas. Text is UTF-8: printable ASCII is drawn, any other character as a box.
 */
#ifndef VR_CANVAS_H
#define VR_CANVAS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    VR_FONT_GLYPHS = 96, /* U+0020..U+007E, then the box */
    VR_FONT_COLUMNS = 5,
    VR_FONT_LINES = 9,
    VR_FONT_WIDTH = 6,  /* of a letter with the gap behind it, at scale 1 */
    VR_FONT_HEIGHT = 11 /* of a line */
};

extern const uint8_t vr_font_table[VR_FONT_GLYPHS][VR_FONT_LINES]; /* bit 4 is the left column */

typedef struct vr_colour {
    uint8_t r, g, b;
} vr_colour;

typedef struct vr_canvas {
    int width, height;
    uint8_t *rgb; /* [height, width, 3] owned */
} vr_canvas;

/* White. */
int vr_canvas_open(vr_canvas *out, int width, int height, vr_err *e);
void vr_canvas_close(vr_canvas *canvas);

void vr_canvas_fill(vr_canvas *canvas, int x, int y, int width, int height, vr_colour colour);
/* A frame of `thick` pixels around the rectangle, outside of it. */
void vr_canvas_border(vr_canvas *canvas, int x, int y, int width, int height, int thick, vr_colour colour);
/* rgb [height, width, 3] with its upper left corner at x, y. */
void vr_canvas_picture(vr_canvas *canvas, int x, int y, int width, int height, const uint8_t *rgb);
/* One line of n_bytes at a whole scale >= 1; cut behind max_width pixels. */
void vr_canvas_text(vr_canvas *canvas, int x, int y, int scale, int max_width, const char *text, size_t n_bytes, vr_colour colour);

/* Bytes of text that fit in a line of n_letters, broken at a blank or newline where there is one; *skip: bytes to the next line. */
size_t vr_canvas_line(const char *text, int n_letters, size_t *skip);

#endif
