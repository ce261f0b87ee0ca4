/*
 * step.cu - the launches of a step (a token) as one CUDA graph.
 *
 *   begin -> capture of the stream -> operations as ever -> end -> update of the last step's graph, or a new one -> one launch
 *
 * A token of a 7B decoder is some 350 launches of a few microseconds each; as a graph they follow each other without the host.
 * Each step is captured anew, which is cheap beside it: addresses and sizes, such as the number of keys, are then just arguments
 * that the update writes into the graph at hand. Where it does not fit (another number of launches: attention begins to split its
 * keys) a new graph is made.
 * What a graph cannot hold gives the capture up: memory taken or given back, copies from the host, waiting. None of the step was
 * done then; it is asked for again and launched one by one, and the next one is captured again. After three in a row, or where
 * the driver refuses, steps stay plain and one line says so. VIDRUN_CUDA_GRAPHS=0 turns graphs off.
 * Trap:  an error while launches are taken down says nothing about the device; the plain step that follows finds it again.
 * Trap:  the mode is that of one thread: another thread's uploads do not disturb the capture.
 */
#include "kernels/cuda/cuda.h"

#include <stdio.h>
#include <stdlib.h>

#define MOST_LOST 3

static void turn_off(vr_cuda *c, const char *what)
{
    c->step.off = true, c->step.told = false;
    snprintf(c->step.note, sizeof c->step.note, "%s: tokens are launched operation by operation: %s", c->name, what);
}

static void give_up(vr_cuda *c, const char *what)
{
    vr_cuda_step *s = &c->step;
    cudaGraph_t graph = nullptr;
    s->capturing = false, s->lost = true;
    if (cudaStreamEndCapture(c->stream, &graph) == cudaSuccess && graph) cudaGraphDestroy(graph);
    cudaGetLastError();
    if (++s->n_lost == MOST_LOST) turn_off(c, what);
}

bool vr_cuda_step_allows(vr_cuda *c, const char *what)
{
    if (c->step.capturing) give_up(c, what);
    return !c->step.lost;
}

void vr_cuda_step_begin(vr_backend *be)
{
    vr_cuda *c = vr_cuda_of(be);
    vr_cuda_step *s = &c->step;
    const bool plain = s->plain || s->off;
    s->plain = false;
    if (plain || !vr_cuda_begin(c)) return;
    const cudaError_t error = cudaStreamBeginCapture(c->stream, cudaStreamCaptureModeThreadLocal);
    s->capturing = error == cudaSuccess;
    if (s->capturing) return;
    cudaGetLastError();
    turn_off(c, cudaGetErrorString(error));
}

/* What was taken down -> s->ready. */
static cudaError_t make_ready(vr_cuda_step *s, cudaGraph_t graph)
{
    cudaGraphExecUpdateResultInfo result;
    if (s->ready && cudaGraphExecUpdate(s->ready, graph, &result) != cudaSuccess) {
        cudaGetLastError();
        cudaGraphExecDestroy(s->ready);
        s->ready = nullptr;
    }
    return s->ready ? cudaSuccess : cudaGraphInstantiate(&s->ready, graph, 0);
}

bool vr_cuda_step_end(vr_backend *be)
{
    vr_cuda *c = vr_cuda_of(be);
    vr_cuda_step *s = &c->step;
    if (s->lost) {
        s->lost = false, s->plain = true;
        return false;
    }
    if (!s->capturing) return true;
    cudaGraph_t graph = nullptr;
    s->capturing = false;
    cudaError_t error = cudaStreamEndCapture(c->stream, &graph);
    if (error == cudaSuccess) error = make_ready(s, graph);
    if (graph) cudaGraphDestroy(graph);
    if (error != cudaSuccess) {
        cudaGetLastError();
        turn_off(c, cudaGetErrorString(error));
        return false;
    }
    s->n_lost = 0;
    vr_cuda_ok(c, cudaGraphLaunch(s->ready, c->stream), "graph of a token");
    return true;
}

const char *vr_cuda_step_note(vr_backend *be)
{
    vr_cuda_step *s = &vr_cuda_of(be)->step;
    const bool told = s->told;
    s->told = true;
    return s->note[0] && !told ? s->note : nullptr;
}

void vr_cuda_step_open(vr_cuda *c)
{
    const char *text = getenv("VIDRUN_CUDA_GRAPHS");
    c->step.off = text && text[0] == '0';
}

void vr_cuda_step_free(vr_cuda *c)
{
    if (c->step.ready) cudaGraphExecDestroy(c->step.ready);
}
