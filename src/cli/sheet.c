/*
 * sheet.c - see sheet.h.
 *
 *   plan + facts -> layout -> height of caption, frames, sound, legend -> canvas -> media/png.c
 *
 * Trap: a place without a token may still have been seen: the towers look at the whole picture, and what other tokens are made of.
 */
#include "cli/sheet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/canvas.h"
#include "cli/record.h"
#include "media/png.h"

enum {
    MARGIN = 12,
    WIDTH_LEAST = 720,
    QUESTION_LINES = 3,
    ANSWER_LINES = 8,
    MEL_HEIGHT = 64,
    TEXT_SCALE = 2,
    LEGEND_LINES = 7,
    SCENES = 8 /* colours and lines of the legend */
};

static const vr_colour black = { 20, 20, 20 }, grey = { 110, 110, 110 }, dark = { 70, 70, 70 };
static const vr_colour high_colour = { 235, 120, 0 }, low_colour = { 40, 110, 220 }, kept_colour = { 60, 150, 80 },
                       dropped_colour = { 200, 200, 200 };

/* Of scenes, one after the other. */
static const vr_colour scene_colours[SCENES] = { { 130, 70, 170 }, { 213, 94, 0 },   { 0, 158, 115 }, { 204, 121, 167 },
                                                 { 230, 159, 0 },  { 86, 180, 233 }, { 90, 90, 90 },  { 160, 130, 60 } };

typedef struct sheet {
    vr_plan plan;
    vr_facts facts;
    vr_sheet_layout layout;
    int width;    /* of the canvas */
    int y;        /* what is free below */
    uint8_t *rgb; /* [layout.n_frames, frame_height, frame_width, 3] owned */
    vr_canvas canvas;
} sheet;

static int line_height(void)
{
    return VR_FONT_HEIGHT * TEXT_SCALE;
}

/* Text in at most `most` lines; returns their number. canvas NULL: only counted. */
static int paragraph(const sheet *s, vr_canvas *canvas, int y, const char *text, int most, vr_colour colour)
{
    const int room = s->width - 2 * MARGIN, n_letters = room / (VR_FONT_WIDTH * TEXT_SCALE);
    int n = 0;
    for (; *text && n < most; n++) {
        size_t skip;
        const size_t n_bytes = vr_canvas_line(text, n_letters, &skip);
        if (canvas) vr_canvas_text(canvas, MARGIN, y + n * line_height(), TEXT_SCALE, room, text, n_bytes, colour);
        text += skip;
    }
    if (canvas && *text && n > 0) { /* cut: marked at the end of the last line */
        const int width = 3 * VR_FONT_WIDTH * TEXT_SCALE, x = s->width - MARGIN - width;
        vr_canvas_fill(canvas, x, y + (n - 1) * line_height(), width, line_height(), (vr_colour){ 255, 255, 255 });
        vr_canvas_text(canvas, x, y + (n - 1) * line_height(), TEXT_SCALE, width, "...", 3, colour);
    }
    return n;
}

/* A dropped frame: grey and pale. */
static void picture_grey(uint8_t *rgb, size_t n_pixels)
{
    for (size_t i = 0; i < n_pixels; i++, rgb += 3) {
        const int luma = (299 * rgb[0] + 587 * rgb[1] + 114 * rgb[2]) / 1000;
        rgb[0] = rgb[1] = rgb[2] = (uint8_t)(127 + luma / 2);
    }
}

static bool has_token(const vr_frame_fact *fact, double x, double y)
{
    const double column = (x - (double)fact->left) / (double)(fact->right - fact->left) * fact->n_columns;
    const double line = (y - (double)fact->top) / (double)(fact->bottom - fact->top) * fact->n_lines;
    if (!(column >= 0 && column < fact->n_columns && line >= 0 && line < fact->n_lines)) return false;
    return !fact->tokens || fact->tokens[(int)line * fact->n_columns + (int)column] != 0;
}

/* Places of a kept frame without a token become dark. */
static void picture_dim(uint8_t *rgb, int width, int height, const vr_frame_fact *fact)
{
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++, rgb += 3) {
            if (has_token(fact, (x + 0.5) / width, (y + 0.5) / height)) continue;
            for (int c = 0; c < 3; c++) rgb[c] = (uint8_t)(rgb[c] / 4);
        }
    }
}

static bool two_grids(const vr_facts *facts)
{
    return facts->n_high > 0 || facts->n_scenes > 0 || (facts->regime && strcmp(facts->regime, "mix") == 0);
}

static vr_colour border_colour(const sheet *s, const vr_frame_fact *fact)
{
    if (!fact->kept) return dropped_colour;
    return !two_grids(&s->facts) ? kept_colour : fact->high ? high_colour : low_colour;
}

/* Minutes, seconds and tenths that are over. */
static int time_print(char *text, size_t room, double seconds)
{
    return snprintf(text, room, "%d:%04.1f", (int)(seconds / 60), fmod(floor(seconds * 10) / 10, 60));
}

static void label_draw(sheet *s, int x, int y, int position, const vr_frame_fact *fact)
{
    const vr_sheet_layout *l = &s->layout;
    const double seconds = s->plan.frame_seconds[position];
    const int room = l->frame_width + 2 * l->border, fits = room / (VR_FONT_WIDTH * l->scale);
    char text[64];
    int n = snprintf(text, sizeof text, "#%lld", (long long)s->plan.frame_indices[position]);
    const int number = n;
    if (s->plan.n_frames_total > 1) {
        text[n++] = ' ';
        n += time_print(text + n, sizeof text - (size_t)n, seconds);
    }
    if (n > fits) n = number;
    if (fact->slot > 0) {
        const int slot = snprintf(text + n, sizeof text - (size_t)n, " s%d", fact->slot);
        if (n + slot <= fits) n += slot;
    }
    vr_canvas_text(&s->canvas, x - l->border, y, l->scale, room, text, (size_t)n, fact->kept ? black : grey);
}

static int scene_of(const vr_facts *facts, int position)
{
    for (int i = 0; i < facts->n_scenes; i++)
        if (position <= facts->scenes[i].last) return i;
    return -1;
}

/* A bar above cell i, whole as far as the scene goes. */
static void scene_draw(sheet *s, int i, int x, int y)
{
    const vr_sheet_layout *l = &s->layout;
    const int scene = scene_of(&s->facts, vr_sheet_position(l, s->facts.n_frames, i)), thick = (l->gap + 1) / 2;
    if (scene < 0) return;
    const bool goes_on = i + 1 < l->n_frames && (i + 1) % l->columns != 0 &&
                         scene_of(&s->facts, vr_sheet_position(l, s->facts.n_frames, i + 1)) == scene;
    const int width = l->frame_width + 2 * l->border + (goes_on ? l->gap : 0);
    vr_canvas_fill(&s->canvas, x - l->border, y - l->border - thick, width, thick, scene_colours[scene % SCENES]);
}

static void frames_draw(sheet *s)
{
    const vr_sheet_layout *l = &s->layout;
    const size_t n_pixels = (size_t)l->frame_width * (size_t)l->frame_height;
    const int left = (s->width - l->width) / 2;
    for (int i = 0; i < l->n_frames; i++) {
        const int position = vr_sheet_position(l, s->facts.n_frames, i);
        const vr_frame_fact *fact = &s->facts.frames[position];
        uint8_t *rgb = s->rgb + (size_t)i * n_pixels * 3;
        int x, y;
        vr_sheet_cell(l, i, &x, &y);
        x += left, y += s->y;
        if (!fact->kept)
            picture_grey(rgb, n_pixels);
        else if (fact->n_lines > 0)
            picture_dim(rgb, l->frame_width, l->frame_height, fact);
        scene_draw(s, i, x, y);
        vr_canvas_border(&s->canvas, x, y, l->frame_width, l->frame_height, l->border, border_colour(s, fact));
        vr_canvas_picture(&s->canvas, x, y, l->frame_width, l->frame_height, rgb);
        label_draw(s, x, y + l->frame_height + l->border + 3, position, fact);
    }
    s->y += l->height;
}

/* One clip of sound: time to the right, high tones above. */
static void mel_draw(sheet *s, int clip, int x, int width)
{
    const vr_sound_fact *sound = &s->facts.sound;
    const uint8_t *mel = sound->mel + (size_t)clip * (size_t)sound->n_bins * (size_t)sound->n_columns;
    for (int line = 0; line < MEL_HEIGHT; line++) {
        const int bin = (MEL_HEIGHT - 1 - line) * sound->n_bins / MEL_HEIGHT;
        for (int i = 0; i < width; i++) {
            const int value = mel[(size_t)bin * (size_t)sound->n_columns + (size_t)(i * sound->n_columns / width)];
            const vr_colour colour = { (uint8_t)value, (uint8_t)(value * value / 255), (uint8_t)(60 + (255 - value) / 4) };
            vr_canvas_fill(&s->canvas, x + i, s->y + line, 1, 1, colour);
        }
    }
}

static int sound_height(const sheet *s)
{
    return s->facts.sound.mel && s->facts.sound.n_clips > 0 ? MEL_HEIGHT + VR_FONT_HEIGHT + MARGIN : 0;
}

static void sound_draw(sheet *s)
{
    const int n = s->facts.sound.n_clips, gap = 6, room = s->width - 2 * MARGIN + gap;
    if (sound_height(s) == 0) return;
    for (int clip = 0; clip < n; clip++) {
        const int x = MARGIN + clip * room / n, end = MARGIN + (clip + 1) * room / n - gap;
        char text[32];
        const int n_bytes = snprintf(text, sizeof text, "sound %d of %d", clip + 1, n);
        if (end <= x) continue;
        mel_draw(s, clip, x, end - x);
        vr_canvas_text(&s->canvas, x, s->y + MEL_HEIGHT + 2, 1, end - x, text, (size_t)n_bytes, black);
    }
    s->y += sound_height(s);
}

static void legend_line(sheet *s, const char *text)
{
    s->y += line_height() * paragraph(s, &s->canvas, s->y, text, 2, black);
}

static void legend_key(sheet *s, bool filled, vr_colour colour, const char *text)
{
    const int side = line_height() - 8, x = MARGIN + side + 8;
    if (filled)
        vr_canvas_fill(&s->canvas, MARGIN, s->y, side, side, colour);
    else
        vr_canvas_border(&s->canvas, MARGIN + 3, s->y + 3, side - 6, side - 6, 3, colour);
    vr_canvas_text(&s->canvas, x, s->y, TEXT_SCALE, s->width - MARGIN - x, text, strlen(text), black);
    s->y += line_height();
}

static void legend_scenes(sheet *s)
{
    const vr_facts *f = &s->facts;
    char text[192], start[32], end[32];
    for (int i = 0; i < f->n_scenes && i < SCENES; i++) {
        const vr_scene_fact *scene = &f->scenes[i];
        const int n = scene->last - scene->first + 1;
        time_print(start, sizeof start, s->plan.frame_seconds[scene->first]);
        time_print(end, sizeof end, s->plan.frame_seconds[scene->last]);
        const int used = snprintf(text, sizeof text, "scene %d: %s to %s, %d frame%s", i + 1, start, end, n, n == 1 ? "" : "s");
        if (i + 1 < f->n_scenes)
            snprintf(text + used, sizeof text - (size_t)used, ", depth %.3g behind it", (double)scene->depth);
        legend_key(s, true, scene_colours[i], text);
    }
    snprintf(text, sizeof text, "its own rows are read: %d", f->n_high);
    if (f->n_high > 0) legend_key(s, false, high_colour, text);
    snprintf(text, sizeof text, "through a memory only: %d", f->n_kept - f->n_high);
    if (f->n_kept > f->n_high) legend_key(s, false, low_colour, text);
}

static void legend_draw(sheet *s)
{
    const vr_facts *f = &s->facts;
    char text[192];
    if (!*vr_record_facts_line(f, text, sizeof text))
        snprintf(text, sizeof text, "%d frame%s, %lld tokens", f->n_frames, f->n_frames == 1 ? "" : "s",
                 (long long)f->n_tokens);
    legend_line(s, text);
    if (s->layout.n_frames < f->n_frames) {
        snprintf(text, sizeof text, "%d of %d sampled frames are shown", s->layout.n_frames, f->n_frames);
        legend_line(s, text);
    }
    if (!f->regime) return;
    bool dims = false;
    for (int i = 0; i < f->n_frames; i++) dims = dims || f->frames[i].n_lines > 0;
    if (f->n_scenes > 0) {
        legend_scenes(s);
    } else if (f->memory.n_slots > 0) {
        snprintf(text, sizeof text, "shown whole: %d (retrieved: %d)", f->n_high, f->memory.n_retrieved);
        legend_key(s, false, high_colour, text);
        snprintf(text, sizeof text, "in a slot only: %d (%d slots; frames that share one have the same s)",
                 f->n_kept - f->n_high, f->memory.n_slots);
        if (f->n_kept > f->n_high) legend_key(s, false, low_colour, text);
    } else if (two_grids(f)) {
        snprintf(text, sizeof text, "high resolution: %d", f->n_high);
        legend_key(s, false, high_colour, text);
        snprintf(text, sizeof text, "low resolution: %d", f->n_kept - f->n_high);
        if (f->n_kept > f->n_high) legend_key(s, false, low_colour, text);
    } else {
        snprintf(text, sizeof text, "kept: %d", f->n_kept);
        legend_key(s, false, kept_colour, text);
    }
    snprintf(text, sizeof text, "grey: dropped: %d", f->n_frames - f->n_kept);
    if (f->n_kept < f->n_frames) legend_key(s, true, dropped_colour, text);
    if (dims) legend_key(s, true, dark, "dark: no token of its own");
}

static int draw(sheet *s, const char *question, const char *answer, vr_err *e)
{
    const int caption = line_height() * (paragraph(s, NULL, 0, question, QUESTION_LINES, grey) +
                                         paragraph(s, NULL, 0, answer, ANSWER_LINES, black));
    const int legend = LEGEND_LINES + (s->facts.n_scenes < SCENES ? s->facts.n_scenes : SCENES);
    const int height = 4 * MARGIN + caption + s->layout.height + sound_height(s) + legend * line_height();
    VR_TRY(vr_canvas_open(&s->canvas, s->width, height, e));
    s->y = MARGIN;
    s->y += line_height() * paragraph(s, &s->canvas, s->y, question, QUESTION_LINES, grey);
    s->y += line_height() * paragraph(s, &s->canvas, s->y, answer, ANSWER_LINES, black);
    frames_draw(s);
    s->y += MARGIN / 2;
    sound_draw(s);
    legend_draw(s);
    s->canvas.height = s->y + MARGIN < height ? s->y + MARGIN : height; /* lines of the legend that were not needed */
    return VR_OK;
}

static int frames_read(sheet *s, vr_session *session, vr_err *e)
{
    const vr_sheet_layout *l = &s->layout;
    int positions[VR_SHEET_FRAMES];
    s->rgb = calloc((size_t)l->n_frames, (size_t)l->frame_width * (size_t)l->frame_height * 3);
    if (!s->rgb) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the pictures of %d frames", l->n_frames);
    for (int i = 0; i < l->n_frames; i++) positions[i] = vr_sheet_position(l, s->facts.n_frames, i);
    return vr_session_frames(session, positions, l->n_frames, l->frame_width, l->frame_height, s->rgb, e);
}

int vr_sheet_write(const char *path, vr_session *session, const char *question, const char *answer, vr_err *e)
{
    sheet s = { .y = 0 };
    vr_session_plan(session, &s.plan);
    vr_session_facts(session, &s.facts);
    s.layout = vr_sheet_layout_for(s.facts.n_frames, s.plan.frame_width, s.plan.frame_height);
    s.width = s.layout.width > WIDTH_LEAST ? s.layout.width : WIDTH_LEAST;
    int rc = frames_read(&s, session, e);
    if (rc == VR_OK) rc = draw(&s, question, answer, e);
    if (rc == VR_OK) rc = vr_png_write(path, s.canvas.rgb, s.canvas.width, s.canvas.height, e);
    vr_canvas_close(&s.canvas);
    free(s.rgb);
    return rc;
}
