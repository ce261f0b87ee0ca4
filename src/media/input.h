/*
 * input.h - bytes of a local file or of standard input, readable from any offset any number of times.
 *
 *   path --open--> regular file ------------------------+--> descriptor, size --> demux.h (pread)
 *   "-", pipe --copy--> unlinked file in $TMPDIR -------+
 *
 * Names are opened literally: '%' or "proto:" mean nothing. Errors are VR_ERR_VIDEO, or VR_ERR_OTHER where the temporary
 * file fails. Owner: the caller closes; demuxers over it must be closed first.
 */
#ifndef VR_INPUT_H
#define VR_INPUT_H

#include <stdint.h>

#include "base/err.h"

typedef struct vr_input {
    char *name; /* for messages: the path, or "standard input"; owned */
    int fd;     /* -1 when closed */
    int64_t size;
    /* Of a stream (live.h), which is read once from front to end: bytes read, or an AVERROR. NULL: a file. */
    int (*read_on)(void *cookie, uint8_t *buffer, int n);
    void *cookie;
} vr_input;

int vr_input_open(vr_input *out, const char *path, vr_err *e);
void vr_input_close(vr_input *input); /* legal after a failed open and on a closed input */

#endif
