/*
 * places.h - what this machine has: the demo model's file, the processors that may be used.
 *
 *   "demo" -> weights/demo.bin of the working folder, of the tree the program lies in, of the installed data folder
 */
#ifndef VR_PLACES_H
#define VR_PLACES_H

#include <stddef.h>

#include "base/err.h"

enum { VR_PLACES_PATH = 4096 + 64 };

/* The path of WEIGHTS: the word demo is looked up, anything else copied. VR_ERR_WEIGHTS names the places tried. */
int vr_places_weights(const char *word, char *path, size_t n_bytes, vr_err *e);

/* Processors this process may run on, at least 1, at most VR_MAX_THREADS. */
int vr_places_threads(void);

/* What --device says, else VIDRUN_DEVICE, else "auto". */
const char *vr_places_device(const char *given);
/* What --gpu-layers says, else VIDRUN_GPU_LAYERS, else "auto". */
const char *vr_places_gpu_layers(const char *given);

#endif
