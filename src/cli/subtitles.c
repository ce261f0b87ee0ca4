/*
 * subtitles.c - see subtitles.h.
 *
 * Ref:  W3C WebVTT: text may not hold "-->", '&' and '<' are escaped. SubRip has no norm: players end a cue at a blank line.
 * Trap: answers of models hold line breaks and control characters; a cue is one line of them.
 */
#include "cli/subtitles.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/timetable.h"

static void check(vr_subtitles *s, bool good)
{
    if (!good && !s->error) s->error = errno ? errno : EIO;
}

int vr_subtitles_open(vr_subtitles *s, const char *path, bool vtt, vr_err *e)
{
    *s = (vr_subtitles){ .path = path, .vtt = vtt };
    if (!path) return VR_OK;
    s->file = fopen(path, "wb");
    if (!s->file) return vr_fail(e, VR_ERR_OTHER, "%s: cannot be written: %s", path, strerror(errno));
    if (vtt) check(s, fputs("WEBVTT\n\n", s->file) >= 0);
    return VR_OK;
}

static void write_text(const vr_subtitles *s, const char *text)
{
    bool blank = true; /* at the start or behind a blank: no more of them */
    for (const char *c = text; *c; c++) {
        const bool is_blank = (unsigned char)*c <= ' ' || *c == 0x7F;
        if (is_blank && (blank || c[1 + strspn(c + 1, " \t\r\n")] == '\0')) continue;
        blank = is_blank;
        if (is_blank)
            fputc(' ', s->file);
        else if (s->vtt && *c == '&')
            fputs("&amp;", s->file);
        else if (s->vtt && *c == '<')
            fputs("&lt;", s->file);
        else if (*c == '>' && c - text >= 2 && c[-1] == '-' && c[-2] == '-')
            fputs(s->vtt ? "&gt;" : " >", s->file);
        else
            fputc(*c, s->file);
    }
}

static void write_cue(vr_subtitles *s, double start, double end, const char *text)
{
    char from[32], to[32];
    const char mark = s->vtt ? '.' : ',';
    if (text[strspn(text, " \t\r\n")] == '\0') return; /* nothing was said */
    if (end < start + 0.001) end = start + 0.001;
    errno = 0;
    if (!s->vtt) fprintf(s->file, "%d\n", s->n_cues + 1);
    fprintf(s->file, "%s --> %s\n", vr_time_format(start, mark, from, sizeof from), vr_time_format(end, mark, to, sizeof to));
    write_text(s, text);
    fputs("\n\n", s->file);
    s->n_cues++;
    check(s, fflush(s->file) == 0 && !ferror(s->file));
}

static void end_cue(vr_subtitles *s, double end)
{
    if (s->text) write_cue(s, s->start, end, s->text);
    free(s->text);
    s->text = NULL;
}

void vr_subtitles_caption(vr_subtitles *s, double seconds, const char *text)
{
    if (!s->file) return;
    end_cue(s, seconds);
    s->text = strdup(text);
    s->start = seconds;
    errno = ENOMEM;
    check(s, s->text != NULL);
}

void vr_subtitles_scene(vr_subtitles *s, double start, double end, const char *text)
{
    if (!s->file) return;
    end_cue(s, start);
    write_cue(s, start, end, text);
}

int vr_subtitles_close(vr_subtitles *s, double end, vr_err *e)
{
    if (!s->file) return VR_OK;
    end_cue(s, end);
    errno = 0;
    check(s, fclose(s->file) == 0);
    s->file = NULL;
    return s->error ? vr_fail(e, VR_ERR_OTHER, "%s: cannot be written: %s", s->path, strerror(s->error)) : VR_OK;
}
