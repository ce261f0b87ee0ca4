/*
 * timetable.c - see timetable.h.
 */
#include "cli/timetable.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/questions.h"

#define LATEST 1e9 /* seconds, 31 years: more than a mistake in the unit makes */

bool vr_time_parse(const char *text, double *seconds)
{
    double total = 0;
    for (int part = 0; part < 3; part++) {
        char *end;
        if (*text < '0' || *text > '9' || text[strspn(text, "0123456789.:")] != '\0') return false;
        const double number = strtod(text, &end);
        if (part > 0 && number >= 60) return false;
        total = 60 * total + number;
        if (*end == '\0') {
            *seconds = total;
            return total <= LATEST;
        }
        if (*end != ':' || memchr(text, '.', (size_t)(end - text))) return false;
        text = end + 1;
    }
    return false;
}

const char *vr_time_format(double seconds, char mark, char *text, size_t n_bytes)
{
    const int64_t ms = seconds > 0 ? llround(fmin(seconds, LATEST) * 1000) : 0;
    const int64_t s = ms / 1000;
    const int n =
        snprintf(text, n_bytes, "%02lld:%02lld:%02lld", (long long)(s / 3600), (long long)(s / 60 % 60), (long long)(s % 60));
    const bool fraction = mark == ' ' ? ms % 1000 != 0 : mark != 0;
    if (fraction && n > 0 && (size_t)n < n_bytes)
        snprintf(text + n, n_bytes - (size_t)n, "%c%03lld", mark == ' ' ? '.' : mark, (long long)(ms % 1000));
    return text;
}

static int add(vr_timetable *t, double seconds, int64_t frames, const char *text, vr_err *e)
{
    if (t->count == t->capacity) {
        const int capacity = t->capacity ? 2 * t->capacity : 16;
        vr_timed_question *items = realloc(t->items, (size_t)capacity * sizeof *items);
        if (!items) return vr_fail(e, VR_ERR_LIMIT, "no memory for %d questions", capacity);
        t->items = items;
        t->capacity = capacity;
    }
    char *copy = strdup(text);
    if (!copy) return vr_fail(e, VR_ERR_LIMIT, "no memory for a question");
    int at = t->count++;
    for (; at > 0; at--) { /* insertion: equal places keep their order, and files are sorted as a rule */
        const vr_timed_question *const before = &t->items[at - 1];
        if (before->frames < frames || (before->frames == frames && before->seconds <= seconds)) break;
        t->items[at] = *before;
    }
    t->items[at] = (vr_timed_question){ seconds, frames, copy };
    return VR_OK;
}

static int add_line(vr_timetable *t, vr_question *line, const char *path, vr_err *e)
{
    double seconds;
    const size_t n = strcspn(line->text, "\t");
    char *const question = line->text + n;
    if (*question == '\0')
        return vr_fail(e, VR_ERR_USAGE, "option --ask: '%s', line %lld: no tab between time and question", path,
                       (long long)line->line);
    *question = '\0';
    if (!vr_time_parse(line->text, &seconds))
        return vr_fail(e, VR_ERR_USAGE, "option --ask: '%s', line %lld: '%.40s' is no time (seconds or HH:MM:SS)", path,
                       (long long)line->line, line->text);
    if (question[1 + strspn(question + 1, " \t")] == '\0')
        return vr_fail(e, VR_ERR_USAGE, "option --ask: '%s', line %lld: no question", path, (long long)line->line);
    return add(t, seconds, -1, question + 1, e);
}

int vr_timetable_read_file(vr_timetable *t, const char *path, vr_err *e)
{
    FILE *const file = fopen(path, "rb");
    if (!file) return vr_fail(e, VR_ERR_USAGE, "option --ask: '%s': %s", path, strerror(errno));
    vr_question line = { 0 };
    int rc;
    while ((rc = vr_question_read(&line, file, e)) == VR_OK && !line.end)
        if ((rc = add_line(t, &line, path, e)) != VR_OK) break;
    vr_question_free(&line);
    fclose(file);
    VR_TRY(rc);
    return t->count > 0 ? VR_OK : vr_fail(e, VR_ERR_USAGE, "option --ask: '%s' holds no question", path);
}

int vr_timetable_read_lines(vr_timetable *t, const char *places, FILE *lines, vr_err *e)
{
    vr_question line = { 0 };
    int rc = VR_OK;
    const char *at = places;
    for (bool more = true; rc == VR_OK && more;) {
        char *end;
        errno = 0;
        const long long frames = *at >= '0' && *at <= '9' ? strtoll(at, &end, 10) : 0;
        if (frames < 1 || errno || (*end != ',' && *end != '\0')) {
            rc = vr_fail(e, VR_ERR_USAGE, "option --ask-after: '%s' is no list of numbers of frames: N,N,...", places);
            break;
        }
        more = *end == ',';
        at = end + 1;
        rc = vr_question_read(&line, lines, e);
        if (rc == VR_OK && line.end)
            rc = vr_fail(e, VR_ERR_USAGE, "option --ask-after: '%s' has more places than standard input has questions", places);
        if (rc == VR_OK) rc = add(t, 0, frames, line.text, e);
    }
    if (rc == VR_OK) rc = vr_question_read(&line, lines, e);
    if (rc == VR_OK && !line.end)
        rc = vr_fail(e, VR_ERR_USAGE, "option --ask-after: standard input has more questions than '%s' has places", places);
    vr_question_free(&line);
    return rc;
}

vr_timed_question *vr_timetable_due(const vr_timetable *t, int64_t n_frames, double next_seconds)
{
    if (t->next == t->count) return NULL;
    vr_timed_question *const q = &t->items[t->next];
    if (n_frames == 0) return NULL; /* nothing to answer from yet */
    const bool due = q->frames >= 0 ? n_frames >= q->frames || next_seconds == (double)INFINITY : q->seconds < next_seconds;
    return due ? q : NULL;
}

void vr_timetable_free(vr_timetable *t)
{
    for (int i = 0; i < t->count; i++) free(t->items[i].text);
    free(t->items);
    *t = (vr_timetable){ 0 };
}
