/*
 * places.c - see places.h.
 *
 * Trap: the number of processors online is not the number that taskset or a container leaves to this process.
 */
#if defined(__linux__)
#define _GNU_SOURCE /* sched_getaffinity; NOLINT(bugprone-reserved-identifier) */
#endif
#include "cli/places.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"

#ifndef VR_DATADIR
#define VR_DATADIR "/usr/local/share/vidrun" /* the Makefile's PREFIX may say otherwise */
#endif

/* Folder of the running program without the slash at its end; "" when the system does not tell. */
static void program_folder(char *folder, size_t n_bytes)
{
    const ssize_t n = readlink("/proc/self/exe", folder, n_bytes - 1);
    folder[n > 0 ? n : 0] = '\0';
    char *const slash = strrchr(folder, '/');
    if (slash) *slash = '\0';
}

int vr_places_weights(const char *word, char *path, size_t n_bytes, vr_err *e)
{
    if (strcmp(word, "demo") != 0) {
        if ((size_t)snprintf(path, n_bytes, "%s", word) >= n_bytes)
            return vr_fail(e, VR_ERR_WEIGHTS, "WEIGHTS: a path of %zu bytes is too long", strlen(word));
        return VR_OK;
    }
    static const char *const beside[] = { "../weights/demo.bin", "../share/vidrun/demo.bin" };
    char folder[4096], tried[768] = "";
    program_folder(folder, sizeof folder);
    for (int i = 0; i < 4; i++) {
        if (i == 0)
            snprintf(path, n_bytes, "weights/demo.bin");
        else if (i < 3)
            snprintf(path, n_bytes, "%s/%s", folder, beside[i - 1]);
        else
            snprintf(path, n_bytes, "%s/demo.bin", VR_DATADIR);
        if (access(path, R_OK) == 0) return VR_OK;
        const size_t n = strlen(tried);
        snprintf(tried + n, sizeof tried - n, "%s%s", i ? ", " : "", path);
    }
    return vr_fail(e, VR_ERR_WEIGHTS, "the demo model is not there; tried %s (a file of this name is ./demo)", tried);
}

/* What was given, else what the environment says, else "auto". */
static const char *choose(const char *given, const char *variable)
{
    const char *wanted = given ? given : getenv(variable);
    return wanted && (*wanted || given) ? wanted : "auto";
}

const char *vr_places_device(const char *given)
{
    return choose(given, "VIDRUN_DEVICE");
}

const char *vr_places_gpu_layers(const char *given)
{
    return choose(given, "VIDRUN_GPU_LAYERS");
}

int vr_places_threads(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) n = CPU_COUNT(&set);
#endif
    return n < 1 ? 1 : n > VR_MAX_THREADS ? VR_MAX_THREADS : (int)n;
}
