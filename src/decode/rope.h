/*
 * rope.h - rotary positions of a decoder: how often each pair of a head's elements turns, and the table of turns.
 *
 *   keys llama.rope.* -> vr_rope -> frequencies [E/2] -> angle = position * frequency -> cosine, sine [n_positions, E/2]
 *   sections: a row has three positions (time, row, column), and each pair of elements turns by one of them
 *
 * Ref:   arXiv:2104.09864; transformers 4.43 modeling_rope_utils.py (_compute_llama3_parameters), 4.45 modeling_qwen2_vl.py
 *        (apply_multimodal_rotary_pos_emb).
 * Trap:  Hugging Face files turn element e with e + E/2, stock GGUF files 2e with 2e + 1: key llama.rope.pairs.
 *        The originals compute inverse frequencies, angles, cosine and sine in f32, and so does the table.
 */
#ifndef VR_ROPE_H
#define VR_ROPE_H

#include <stdbool.h>

#include "base/weights.h"
#include "kernels/ops.h"

typedef struct vr_rope {
    int head_dim; /* E, even */
    float base;
    vr_rope_pairs pairs;
    /* llama3: frequencies that turn less than low times within the original context are divided by factor, those that turn more
     * than high times stay, those in between are mixed. */
    bool scaled;
    float factor, low, high;
    int original_context;
    float linear;         /* linear scaling: all frequencies are divided by it; 0: none */
    const float *factors; /* [E/2] borrowed from the weight file, rope_freqs.weight of stock files: frequencies are divided by
                             them; NULL: none (vr_llama_open) */
    int sections[3]; /* pairs that turn by time, by row, by column, E/2 together; all 0: a row has one position */
} vr_rope;

int vr_rope_read(vr_rope *rope, const vr_weights *w, vr_err *e);

/* Radians a position of pair i, 0 <= i < E/2. */
float vr_rope_frequency(const vr_rope *rope, int i);

/* cosine, sine [n_positions, E/2] */
void vr_rope_table(const vr_rope *rope, int n_positions, float *cosine, float *sine);

bool vr_rope_has_sections(const vr_rope *rope);
/* The same for rows that are anywhere: positions [T, 3] (time, row, column), cosine, sine [T, E/2]; only with sections. */
void vr_rope_rows(const vr_rope *rope, const int32_t *positions, int T, float *cosine, float *sine);

#endif
