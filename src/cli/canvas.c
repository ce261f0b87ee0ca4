/*
 * canvas.c - see canvas.h.
 */
#include "cli/canvas.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

int vr_canvas_open(vr_canvas *out, int width, int height, vr_err *e)
{
    const size_t n_bytes = (size_t)width * (size_t)height * 3;
    *out = (vr_canvas){ .width = width, .height = height, .rgb = malloc(n_bytes) };
    if (!out->rgb) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for a picture of %d x %d pixels", width, height);
    memset(out->rgb, 255, n_bytes);
    return VR_OK;
}

void vr_canvas_close(vr_canvas *canvas)
{
    free(canvas->rgb);
    *canvas = (vr_canvas){ 0 };
}

void vr_canvas_fill(vr_canvas *canvas, int x, int y, int width, int height, vr_colour colour)
{
    const int left = x > 0 ? x : 0, right = x + width < canvas->width ? x + width : canvas->width;
    const int bottom = y + height < canvas->height ? y + height : canvas->height;
    for (int line = y > 0 ? y : 0; line < bottom; line++) {
        uint8_t *to = canvas->rgb + ((size_t)line * (size_t)canvas->width + (size_t)left) * 3;
        for (int column = left; column < right; column++, to += 3) to[0] = colour.r, to[1] = colour.g, to[2] = colour.b;
    }
}

void vr_canvas_border(vr_canvas *canvas, int x, int y, int width, int height, int thick, vr_colour colour)
{
    vr_canvas_fill(canvas, x - thick, y - thick, width + 2 * thick, thick, colour);
    vr_canvas_fill(canvas, x - thick, y + height, width + 2 * thick, thick, colour);
    vr_canvas_fill(canvas, x - thick, y, thick, height, colour);
    vr_canvas_fill(canvas, x + width, y, thick, height, colour);
}

void vr_canvas_picture(vr_canvas *canvas, int x, int y, int width, int height, const uint8_t *rgb)
{
    const int left = x < 0 ? -x : 0, right = x + width > canvas->width ? canvas->width - x : width;
    if (left >= right) return;
    for (int line = 0; line < height; line++) {
        if (y + line < 0 || y + line >= canvas->height) continue;
        memcpy(canvas->rgb + ((size_t)(y + line) * (size_t)canvas->width + (size_t)(x + left)) * 3,
               rgb + ((size_t)line * (size_t)width + (size_t)left) * 3, (size_t)(right - left) * 3);
    }
}

static void letter(vr_canvas *canvas, int x, int y, int scale, uint32_t point, vr_colour colour)
{
    const uint8_t *lines = vr_font_table[point >= 0x20 && point < 0x7F ? point - 0x20 : VR_FONT_GLYPHS - 1];
    for (int line = 0; line < VR_FONT_LINES; line++)
        for (int column = 0; column < VR_FONT_COLUMNS; column++)
            if (lines[line] >> (VR_FONT_COLUMNS - 1 - column) & 1)
                vr_canvas_fill(canvas, x + column * scale, y + line * scale, scale, scale, colour);
}

/* Bytes of the first character; a byte that is no UTF-8 stands for itself. */
static size_t character(const char *text, size_t n_bytes, uint32_t *point)
{
    const size_t n = vr_utf8_decode(text, n_bytes, point);
    if (n == 0) *point = 0xFFFD;
    return n > 0 ? n : 1;
}

void vr_canvas_text(vr_canvas *canvas, int x, int y, int scale, int max_width, const char *text, size_t n_bytes, vr_colour colour)
{
    const int end = x + max_width;
    while (n_bytes > 0 && x + VR_FONT_COLUMNS * scale <= end) {
        uint32_t point;
        const size_t n = character(text, n_bytes, &point);
        letter(canvas, x, y, scale, point, colour);
        text += n, n_bytes -= n;
        x += VR_FONT_WIDTH * scale;
    }
}

size_t vr_canvas_line(const char *text, int n_letters, size_t *skip)
{
    const size_t n_bytes = strlen(text);
    size_t at = 0, blank = 0;
    for (int letters = 0; at < n_bytes; letters++) {
        uint32_t point;
        if (text[at] == '\n') {
            *skip = at + 1;
            return at;
        }
        if (letters == n_letters) {
            const size_t end = text[at] == ' ' || blank == 0 ? at : blank;
            *skip = end + (text[end] == ' ');
            return end;
        }
        if (text[at] == ' ') blank = at;
        at += character(text + at, n_bytes - at, &point);
    }
    *skip = at;
    return at;
}
