/*
 * weights.cu - weights on the device: each tensor is uploaded when an operation first asks for it.
 *
 *   hold (ranges of the host that never change) -> lookup: range? -> uploaded already? -> else cudaMalloc, pinned buffers, copy
 *
 * Two pinned buffers: the host fills one while the other travels. Backends that share the weights (the two threads of a stream)
 * share this, under a lock.
 * Owner: device memory and buffers belong to the list; freed with the last backend.
 */
#include <map>
#include <mutex>
#include <new>
#include <string.h>
#include <vector>

#include "kernels/cuda/cuda.h"

#define PINNED_BYTES ((size_t)16 << 20) /* 16 MB: half a millisecond on the bus, so that its start does not show */

struct uploaded {
    unsigned char *device;
    size_t n_bytes;
};

struct vr_cuda_weights {
    std::mutex lock;
    int n_owners;
    std::vector<std::pair<const unsigned char *, size_t>> held;
    std::map<const unsigned char *, uploaded> tensors; /* by the host's address */
    std::vector<unsigned char *> shorter;              /* what a longer tensor of the same address replaced: still in use */
    unsigned char *pinned[2];
    cudaEvent_t travelled[2];
};

vr_cuda_weights *vr_cuda_weights_open(void)
{
    vr_cuda_weights *w = new (std::nothrow) vr_cuda_weights();
    if (w) w->n_owners = 1;
    return w;
}

vr_cuda_weights *vr_cuda_weights_share(vr_cuda_weights *w)
{
    const std::lock_guard<std::mutex> hold(w->lock);
    w->n_owners++;
    return w;
}

void vr_cuda_weights_free(vr_cuda_weights *w)
{
    if (!w) return;
    {
        const std::lock_guard<std::mutex> hold(w->lock);
        if (--w->n_owners > 0) return;
    }
    for (const auto &tensor : w->tensors) cudaFree(tensor.second.device);
    for (unsigned char *device : w->shorter) cudaFree(device);
    for (int i = 0; i < 2; i++) {
        if (!w->pinned[i]) continue;
        cudaEventDestroy(w->travelled[i]);
        cudaFreeHost(w->pinned[i]);
    }
    delete w;
}

void vr_cuda_weights_hold(vr_cuda_weights *w, const void *x, size_t n_bytes)
{
    const std::lock_guard<std::mutex> hold(w->lock);
    w->held.emplace_back(static_cast<const unsigned char *>(x), n_bytes);
}

size_t vr_cuda_weights_there(vr_cuda_weights *w)
{
    const std::lock_guard<std::mutex> hold(w->lock);
    size_t there = 0;
    for (const auto &tensor : w->tensors) there += vr_device_bytes(tensor.second.n_bytes);
    return there;
}

static bool buffers_open(vr_cuda *c, vr_cuda_weights *w)
{
    for (int i = 0; i < 2 && !w->pinned[1]; i++) {
        void *p = nullptr;
        if (!vr_cuda_ok(c, cudaEventCreateWithFlags(&w->travelled[i], cudaEventDisableTiming), "event")) return false;
        if (!vr_cuda_ok(c, cudaMallocHost(&p, PINNED_BYTES), "pinned memory")) {
            cudaEventDestroy(w->travelled[i]);
            return false;
        }
        w->pinned[i] = static_cast<unsigned char *>(p);
    }
    return true;
}

static bool upload(vr_cuda *c, vr_cuda_weights *w, unsigned char *device, const unsigned char *host, size_t n_bytes)
{
    if (!buffers_open(c, w)) return false;
    int turn = 0;
    for (size_t at = 0; at < n_bytes; at += PINNED_BYTES, turn ^= 1) {
        const size_t n = n_bytes - at < PINNED_BYTES ? n_bytes - at : PINNED_BYTES;
        if (!vr_cuda_ok(c, cudaEventSynchronize(w->travelled[turn]), "upload of weights")) return false;
        memcpy(w->pinned[turn], host + at, n);
        if (!vr_cuda_ok(c, cudaMemcpyAsync(device + at, w->pinned[turn], n, cudaMemcpyHostToDevice, c->stream),
                        "upload of weights") ||
            !vr_cuda_ok(c, cudaEventRecord(w->travelled[turn], c->stream), "upload of weights"))
            return false;
    }
    /* another backend that shares the weights has another stream */
    return vr_cuda_ok(c, cudaStreamSynchronize(c->stream), "upload of weights");
}

/* In a tensor that is there already: also rows of it. */
static const void *find(const vr_cuda_weights *w, const unsigned char *x, size_t n_bytes)
{
    auto at = w->tensors.upper_bound(x);
    if (at == w->tensors.begin()) return nullptr;
    --at;
    const size_t offset = (size_t)(x - at->first);
    if (offset > at->second.n_bytes || n_bytes > at->second.n_bytes - offset) return nullptr;
    return at->second.device + offset;
}

const void *vr_cuda_weights_lookup(vr_cuda *c, const void *x, size_t n_bytes)
{
    vr_cuda_weights *w = c->weights;
    const unsigned char *host = static_cast<const unsigned char *>(x);
    const std::lock_guard<std::mutex> hold(w->lock);
    bool is_held = false;
    for (const auto &range : w->held) is_held |= host >= range.first && host + n_bytes <= range.first + range.second;
    if (!is_held) return nullptr;
    const void *there = find(w, host, n_bytes);
    if (there) return there;
    if (!vr_cuda_step_allows(c, "weights are brought to the device")) return nullptr;
    unsigned char *device = nullptr;
    if (!vr_cuda_ok(c, cudaMalloc(&device, n_bytes ? n_bytes : 1), "memory for weights")) return nullptr;
    if (!upload(c, w, device, host, n_bytes)) {
        cudaFree(device);
        return nullptr;
    }
    auto &slot = w->tensors[host];
    if (slot.device) w->shorter.push_back(slot.device);
    slot = uploaded{ device, n_bytes };
    return device;
}
