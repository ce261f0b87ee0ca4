/*
 * computing.c - see computing.h.
 */
#include "cli/computing.h"

#include "cli/places.h"

vr_model_options vr_computing(const vr_options *options)
{
    const bool told = vr_options_given(options, VR_OPTION_THREADS);
    return (vr_model_options){ .cpu = { .n_threads = told ? options->n_threads : vr_places_threads(),
                                        .gemm = (vr_gemm)options->gemm,
                                        .precision = (vr_precision)options->precision },
                               .kv = (vr_kv)options->kv,
                               .gpu_layers = vr_places_gpu_layers(options->gpu_layers),
                               .n_context = options->n_context,
                               .device = vr_places_device(options->device) };
}
