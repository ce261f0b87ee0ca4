/*
 * device.c - see device.h.
 *
 *   "cpu" -> CPU;  "cuda[:N]" -> that device or an error;  "auto" -> device 0 if it can be used, else CPU and one line
 */
#include "device.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* "cuda" or "cuda:N" */
static bool device_number(const char *name, int *number)
{
    static const char prefix[] = "cuda";
    if (strncmp(name, prefix, sizeof prefix - 1) != 0) return false;
    name += sizeof prefix - 1;
    *number = 0;
    if (!*name) return true;
    if (*name++ != ':' || !*name || strlen(name) > 4) return false;
    for (; *name; name++) {
        if (*name < '0' || *name > '9') return false;
        *number = 10 * *number + (*name - '0');
    }
    return true;
}

int vr_device_open(vr_backend **out, int *device, const char *name, const vr_cpu_options *cpu, const vr_log *log, vr_err *e)
{
    const bool automatic = name && strcmp(name, "auto") == 0;
    *device = -1;
    if (!name || strcmp(name, "cpu") == 0) return vr_backend_open_cpu(out, cpu, e);
    if (!automatic && !device_number(name, device))
        return vr_fail(e, VR_ERR_USAGE, "option --device: '%s' is none of auto, cpu, cuda, cuda:N", name);
    if (automatic) *device = 0;
    vr_err why = { 0 };
    const int rc = vr_backend_open_cuda(out, &(vr_cuda_options){ .device = *device, .precision = cpu->precision }, &why);
    if (rc == VR_OK) return VR_OK;
    if (!automatic) {
        if (e) *e = why;
        return rc;
    }
    const bool absent = strstr(why.text, "No such file") != NULL; /* of dlopen: nothing to complain about */
    vr_log_print(log, absent ? VR_LOG_DEBUG : VR_LOG_WARN, "computing on the processor: %s", why.text);
    *device = -1;
    return vr_backend_open_cpu(out, cpu, e);
}

int vr_device_open_beside(vr_backend **out, vr_backend *first, int device, const vr_cpu_options *cpu, vr_err *e)
{
    if (device < 0) return vr_backend_open_cpu(out, cpu, e);
    return vr_backend_open_cuda(out, &(vr_cuda_options){ .device = device, .precision = cpu->precision, .share = first }, e);
}

void vr_device_hold(vr_backend *be, const vr_weights *weights)
{
    const void *memory;
    size_t n_bytes;
    for (int i = 0; be->hold && vr_weights_memory(weights, i, &memory, &n_bytes); i++) be->hold(be, memory, n_bytes);
}

int vr_device_room_get(vr_backend *be, const vr_weights *weights, vr_device_room *out, vr_err *e)
{
    *out = (vr_device_room){ 0 };
    if (!be->room) return VR_OK;
    size_t n_there;
    be->room(be, &out->n_free, &out->n_total, &n_there);
    const size_t n_bound = vr_weights_bound_bytes(weights, vr_device_bytes);
    out->weights_bytes = n_bound > n_there ? n_bound - n_there : 0;
    return vr_backend_sync(be, e);
}

size_t vr_device_work(const vr_backend *plan, size_t n_bytes)
{
    return vr_device_bytes(n_bytes) + plan->own_bytes;
}

bool vr_device_room_suffices(const vr_device_room *room, size_t n_bytes)
{
    return room->weights_bytes <= room->n_free && n_bytes <= room->n_free - room->weights_bytes;
}

int vr_device_room_fail(const vr_backend *be, const vr_device_room *room, size_t n_bytes, const char *remedy, vr_err *e)
{
    return vr_fail(e, VR_ERR_LIMIT, "%s: %zu MB of weights and %zu MB of working memory are needed, %zu of %zu MB are free; %s",
                   be->name, room->weights_bytes >> 20, n_bytes >> 20, room->n_free >> 20, room->n_total >> 20, remedy);
}

int vr_device_room_check(vr_backend *be, const vr_weights *weights, size_t n_bytes, vr_err *e)
{
    vr_device_room room;
    VR_TRY(vr_device_room_get(be, weights, &room, e));
    if (room.n_total == 0 || vr_device_room_suffices(&room, n_bytes)) return VR_OK;
    return vr_device_room_fail(be, &room, n_bytes, VR_DEVICE_NONE, e);
}
