/*
 * text_model.c - a decoder by itself: no clip, only text. What a stock GGUF file becomes (systems/stock_text.c).
 *
 *   question -> rows of the token table -> decoder -> answer
 *
 * There is nothing to plan and nothing to watch: a session of it has no source (pipeline.c).
 */
#include "systems/system.h"

typedef struct text_model {
    vr_llama *llama;
} text_model;

static int system_open(void *state, vr_weights *w, vr_err *e)
{
    text_model *s = state;
    return vr_llama_open(&s->llama, w, e);
}

static void system_close(void *state)
{
    vr_llama_free(((text_model *)state)->llama);
}

static const vr_llama *system_decoder(const void *state)
{
    return ((const text_model *)state)->llama;
}

static void system_recipe(const void *state, vr_recipe *out)
{
    (void)state;
    out->reads_text = true;
}

const vr_system vr_system_text = {
    .name = "text",
    .state_bytes = sizeof(text_model),
    .open = system_open,
    .close = system_close,
    .decoder = system_decoder,
    .recipe = system_recipe,
};
