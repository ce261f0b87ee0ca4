/*
 * load.c - the CUDA backend is a library of its own, opened when it is asked for: a machine without CUDA never needs one.
 *
 *   VIDRUN_CUDA_LIBRARY, or libvidrun_cuda.so beside the program, or where the system looks -> version -> open
 *
 * Trap:  the library is never closed: the CUDA runtime leaves threads and handlers behind that would run into nothing.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/cuda/library.h"

#define LIBRARY "libvidrun_cuda.so"

/* Beside the program, if it is there. */
static bool path_beside(char *path, size_t n_bytes)
{
    const ssize_t n = readlink("/proc/self/exe", path, n_bytes - sizeof LIBRARY - 1);
    if (n <= 0) return false;
    path[n] = '\0';
    char *slash = strrchr(path, '/');
    if (!slash) return false;
    memcpy(slash + 1, LIBRARY, sizeof LIBRARY);
    return access(path, R_OK) == 0;
}

/* dlsym returns an object pointer; C has no conversion to a function, POSIX says that the bits are the same. */
static bool function_find(void *library, const char *name, void *function)
{
    void *symbol = dlsym(library, name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol != NULL;
}

int vr_backend_open_cuda(vr_backend **out, const vr_cuda_options *options, vr_err *e)
{
    char path[4096];
    const char *file = getenv("VIDRUN_CUDA_LIBRARY");
    if (!file || !*file) file = path_beside(path, sizeof path) ? path : LIBRARY;
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!library) return vr_fail(e, VR_ERR_USAGE, "the CUDA backend cannot be loaded: %s", dlerror());
    vr_cuda_library_version_fn *version;
    vr_cuda_library_open_fn *open_backend;
    if (!function_find(library, "vr_cuda_library_version", &version) ||
        !function_find(library, "vr_cuda_library_open", &open_backend))
        return vr_fail(e, VR_ERR_USAGE, "%s is no CUDA backend of this program", file);
    if (version() != VR_CUDA_VERSION) return vr_fail(e, VR_ERR_USAGE, "%s belongs to another build of this program", file);
    return open_backend(out, options, e);
}
