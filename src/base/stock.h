/*
 * stock.h - matrices in the block types of stock GGUF files, brought into a form that the kernels read.
 *
 *   Q8_0 -> Q8_R16, Q4_0 -> Q4_R16, Q4_1 -> Q4M_R16 (base/strips.h): the same numbers;
 *   Q6_K -> F16: value = scale * scale of 16 * number, rounded
 */
#ifndef VR_STOCK_H
#define VR_STOCK_H

#include "base/tensor.h"

bool vr_is_stock(uint32_t type);

/* What a stock type becomes, and its bytes for a matrix [rows, cols]. */
vr_dtype vr_stock_target(vr_dtype t);
size_t vr_stock_target_bytes(vr_dtype t, int rows, int cols);

/* data [rows, cols] of the stock type t, cols a multiple of the type's block -> out, of vr_stock_target_bytes, 64-byte
 * aligned. */
void vr_stock_repack(void *out, vr_dtype t, const void *data, int rows, int cols);

#endif
