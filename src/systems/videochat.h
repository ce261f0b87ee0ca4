/*
 * videochat.h - which frames VideoChat looks at.
 */
#ifndef VR_VIDEOCHAT_H
#define VR_VIDEOCHAT_H

#include <stdint.h>

/* n frames of n_total, in the middle of n equal parts, halves to even; of a clip with fewer frames some are looked at twice. */
void vr_videochat_middles(int64_t *out, int64_t n_total, int n);

#endif
