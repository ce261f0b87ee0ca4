/*
 * library.h - what libvidrun_cuda.so shows, for load.c and backend.cu: two functions of C.
 *
 * The version is made of the sizes of what both sides share: a library of another build is refused, not called.
 */
#ifndef VR_CUDA_LIBRARY_H
#define VR_CUDA_LIBRARY_H

#include "kernels/backend.h"

#define VR_CUDA_EXPORT  __attribute__((visibility("default")))
#define VR_CUDA_VERSION ((unsigned)(sizeof(vr_ops) << 20 | sizeof(vr_backend) << 10 | sizeof(vr_prune) << 4 | 1))

typedef int vr_cuda_library_open_fn(vr_backend **out, const vr_cuda_options *options, vr_err *e);
typedef unsigned vr_cuda_library_version_fn(void);

#ifdef __cplusplus
extern "C" {
#endif
VR_CUDA_EXPORT int vr_cuda_library_open(vr_backend **out, const vr_cuda_options *options, vr_err *e);
VR_CUDA_EXPORT unsigned vr_cuda_library_version(void);
#ifdef __cplusplus
}
#endif

#endif
