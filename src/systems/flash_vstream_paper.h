/*
 * flash_vstream_paper.h - Flash-VStream: memories as the paper describes them (--memory paper), where the published code does
 * otherwise.
 *
 *   slots carry the number of frames that went into them, and stand in order of their mean time
 *   retrieved: of all frames remembered those nearest to the three heaviest slots
 */
#ifndef VR_FLASH_VSTREAM_PAPER_H
#define VR_FLASH_VSTREAM_PAPER_H

#include "compress/kmeans.h"
#include "compress/temporal_memory.h"

#define VR_FLASH_BANK 512 /* frames that may be retrieved */

/* Of the last run of km: order [K] slots by the mean time of their members; weights and times [K] of them in this order.
 * row_weights [T] or NULL (ones), row_times [T]. A slot that lost its members stands where the newest row does. */
void vr_flash_slots_by_time(const vr_kmeans *km, const float *row_weights, const double *row_times, int32_t *order,
                            float *weights, double *times);

/* picks: of rows [T, columns] the nearest to each of the heaviest slots (rows of slots [K, columns], backend memory; of equal
 * weights or distances the earlier); returns their number, at most VR_MEMORY_KEYS. Scratch of the run: T and columns. */
int vr_flash_nearest(const vr_run *run, const float *rows, int T, int columns, const float *slots, const float *weights, int K,
                     int32_t *picks);

/* A frame that rows may come from. */
typedef struct vr_flash_seen {
    int64_t number;
    double seconds;
} vr_flash_seen;

/* The temporal memory of a stream and the frames that it may retrieve. Memory of the run it was taken of. */
typedef struct vr_flash_paper {
    int K, columns, map_floats;
    int n;               /* slots now */
    float *rows, *spare; /* [K + 1, columns] backend memory, by time; they change places */
    float *weights;      /* [K + 1] host: frames in each slot */
    double *times;       /* [K + 1] host: mean number of these frames */
    float *next_weights; /* [K] host */
    double *next_times;  /* [K] host */
    int32_t *order;      /* [K] host */
    double *distance;    /* [K + 1, K + 1] host */
    vr_kmeans km;
    int64_t n_frames, stride; /* frames whose number is a multiple of stride are in the bank */
    int n_bank;
    float *bank, *bank_rows;  /* [VR_FLASH_BANK, map_floats], [VR_FLASH_BANK, columns] backend memory, by time */
    vr_flash_seen *bank_seen; /* [VR_FLASH_BANK] host */
    int n_picks;
    int32_t picks[VR_MEMORY_KEYS]; /* places in the bank */
} vr_flash_paper;

void vr_flash_paper_take(vr_flash_paper *p, const vr_run *run, int K, int columns, int map_floats);
/* One frame: row [columns], map [map_floats], backend memory. */
void vr_flash_paper_add(vr_flash_paper *p, const vr_run *run, const float *row, const float *map, const vr_flash_seen *seen,
                        vr_random *random);

#endif
