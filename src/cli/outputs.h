/*
 * outputs.h - the files that a run would write, looked at before it begins.
 */
#ifndef VR_OUTPUTS_H
#define VR_OUTPUTS_H

#include "cli/options.h"

/* VR_ERR_USAGE where one of them is also read, or two are one; VR_ERR_OTHER where one cannot be written. None is changed. */
int vr_outputs_check(const vr_options *options, vr_err *e);

#endif
