/*
 * media_support.h - what the tests of the media part share: opening clips, reading frames, collecting warnings.
 *
 * Fixtures: tests/fixtures/media (make.sh says what each one shows). Bigger data: $VIDRUN_SHARED, "../shared" by default.
 */
#ifndef VR_MEDIA_SUPPORT_H
#define VR_MEDIA_SUPPORT_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "media/frames.h"
#include "media/source.h"

#define FIXTURES "tests/fixtures/media/"

/* Warnings of a run; debug lines are counted, not kept. */
typedef struct heard_log {
    int n_warnings, n_debug;
    char last[1024];
} heard_log;

static inline void keep_line(void *cookie, vr_log_level level, const char *text)
{
    heard_log *heard = cookie;
    if (level == VR_LOG_DEBUG) heard->n_debug++;
    if (level != VR_LOG_WARN) return;
    heard->n_warnings++;
    snprintf(heard->last, sizeof heard->last, "%s", text);
}

static inline vr_source *open_clip(const char *path, const vr_log *log)
{
    vr_err e = { 0 };
    vr_source *source = NULL;
    const int rc = vr_source_open(&source, path, log, &e);
    ck_assert_msg(rc == VR_OK, "%s: %s", path, e.text);
    return source;
}

/* Frames `indices` as rgb [n, height, width, 3]. */
static inline void read_frames(vr_source *source, uint8_t *rgb, const int64_t *indices, int n, int width, int height,
                               vr_resize resize, const vr_log *log)
{
    vr_err e = { 0 };
    vr_frames *frames = NULL;
    int rc = vr_frames_open(&frames, source, indices, n, width, height, resize, log, &e);
    ck_assert_msg(rc == VR_OK, "%s", e.text);
    int index = -1;
    for (int i = 0; i < n; i++) {
        rc = vr_frames_next(frames, rgb + (size_t)i * (size_t)width * (size_t)height * 3, &index, &e);
        ck_assert_msg(rc == VR_OK, "%s", e.text);
        ck_assert_int_eq(index, i);
    }
    ck_assert_int_eq(vr_frames_next(frames, rgb, &index, &e), VR_OK);
    ck_assert_int_eq(index, -1);
    vr_frames_free(frames);
}

/* A whole file; NULL when it cannot be read. The caller frees. */
static inline uint8_t *read_file(const char *path, size_t *n)
{
    *n = 0;
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    size_t room = 1 << 16, got = 0;
    uint8_t *bytes = malloc(room);
    for (;;) {
        if (!bytes) abort();
        got += fread(bytes + got, 1, room - got, file);
        if (got < room) break;
        bytes = realloc(bytes, room *= 2);
    }
    fclose(file);
    *n = got;
    return bytes;
}

static inline const char *shared_folder(void)
{
    const char *folder = getenv("VIDRUN_SHARED");
    return folder && *folder ? folder : "../shared";
}

#endif
