/*
 * text_model.c - a decoder by itself: no clip, only text. What a stock GGUF file becomes (systems/stock_text.c).
 *
 *   question -> rows of the token table -> decoder -> answer
 *
 * There is nothing to plan and nothing to watch: a session of it has no source (pipeline.c).
 */
#include "systems/system.h"

static int system_open(void **state, vr_weights *w, vr_err *e)
{
    vr_llama *llama;
    *state = NULL;
    VR_TRY(vr_llama_open(&llama, w, e));
    *state = llama;
    return VR_OK;
}

static void system_free(void *state)
{
    vr_llama_free(state);
}

static const vr_llama *system_decoder(const void *state)
{
    return state;
}

static void system_recipe(const void *state, vr_recipe *out)
{
    (void)state;
    out->reads_text = true;
}

const vr_system vr_system_text = {
    .name = "text",
    .open = system_open,
    .free = system_free,
    .decoder = system_decoder,
    .recipe = system_recipe,
};
