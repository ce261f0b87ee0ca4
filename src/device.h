/*
 * device.h - which backend computes: a GPU or the processor.
 */
#ifndef VR_DEVICE_H
#define VR_DEVICE_H

#include "base/log.h"
#include "base/weights.h"
#include "kernels/backend.h"

/* name as in vr_model_options; *device: number of the CUDA device, -1 for the processor. auto without a usable device takes the
 * processor and logs one line that says why (debug where the CUDA library is not installed, else a warning). */
int vr_device_open(vr_backend **out, int *device, const char *name, const vr_cpu_options *cpu, const vr_log *log, vr_err *e);

/* A second backend beside one of vr_device_open, for another thread: the same weights on a device, else threads of its own. */
int vr_device_open_beside(vr_backend **out, vr_backend *first, int device, const vr_cpu_options *cpu, vr_err *e);

/* A device may bring the weights to itself: all that are bound. */
void vr_device_hold(vr_backend *be, const vr_weights *weights);

/* Memory of a device, and what has to go there. */
typedef struct vr_device_room {
    size_t n_free, n_total;
    size_t weights_bytes; /* bound and not there yet */
} vr_device_room;

/* n_total 0: the memory is the host's, and nobody counts. The error is the device's. */
int vr_device_room_get(vr_backend *be, const vr_weights *weights, vr_device_room *out, vr_err *e);
/* The working memory of a run that was counted by a plan (vr_backend_open_plan_of): an arena of n_bytes, and what operations take. */
size_t vr_device_work(const vr_backend *plan, size_t n_bytes);
/* Whether the weights and n_bytes of working memory fit. */
bool vr_device_room_suffices(const vr_device_room *room, size_t n_bytes);

#define VR_DEVICE_NONE "--device cpu computes on the processor"

/* VR_ERR_LIMIT: they do not; remedy: what to do about it. */
int vr_device_room_fail(const vr_backend *be, const vr_device_room *room, size_t n_bytes, const char *remedy, vr_err *e);
/* VR_ERR_LIMIT where a device has no room for all of it. */
int vr_device_room_check(vr_backend *be, const vr_weights *weights, size_t n_bytes, vr_err *e);

#endif
