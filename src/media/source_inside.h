/*
 * source_inside.h - what frames.c, sound.c and live.c need to know of a source; not for the rest of the program.
 */
#ifndef VR_SOURCE_INSIDE_H
#define VR_SOURCE_INSIDE_H

#include "media/input.h"
#include "media/scan.h"
#include "media/source.h"

struct vr_source {
    char *path; /* as given, "-" for standard input; owned */
    vr_input input;
    vr_scan scan;
    vr_source_info info;
};

int vr_stream_turns(const AVStream *stream); /* 0, 90, 180, 270 clockwise, as its container asks for */

#endif
