/*
 * computing.h - how a model computes: --threads, --gemm, --precision, --kv, --device, --gpu-layers -> vr_model_options.
 */
#ifndef VR_COMPUTING_H
#define VR_COMPUTING_H

#include "cli/options.h"
#include "vidrun.h"

/* Without hooks. What is not given is what this machine has. */
vr_model_options vr_computing(const vr_options *options);

#endif
