/*
 * source_inside.h - what frames.c and sound.c need to know of a source; not for the rest of the program.
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

#endif
