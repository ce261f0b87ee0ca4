/*
 * weight_order.h - Flash-VStream: slots by weight, in the order that a GPU gives to equal weights.
 */
#ifndef VR_WEIGHT_ORDER_H
#define VR_WEIGHT_ORDER_H

#include <stdint.h>

/* order [n]: places of w [n], the heaviest first. n <= 32: equal weights as in torch's bitonic network; more: the lower place
 * first. */
void vr_order_descending(const float *w, int n, int32_t *order);
/* The lightest first, the lower place first among equals. */
void vr_order_ascending(const float *w, int n, int32_t *order);

#endif
