/*
 * simt_runtime.cc - see simt_runtime.h.
 */
#include "simt_runtime.h"

#include <cblas.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <sys/mman.h>
#include <vector>

#include "simt.h"

const char *simt_report_text();
void simt_report_clear();
void simt_memory_guard(bool open);

namespace
{

struct block {
    size_t n_bytes, n_device; /* mapped; of the device */
};
std::map<void *, block> allocated;
size_t n_allocated; /* n_device of all */
const size_t PAGE = 4096;
cudaError_t refused = cudaSuccess;

/* VIDRUN_SIMT_FAIL */
struct failure {
    unsigned long call, code;
};
cudaError_t gone = cudaSuccess;

/* Counts a call. */
cudaError_t call()
{
    static const failure planned = [] {
        const char *text = getenv("VIDRUN_SIMT_FAIL");
        failure f = { 0, 0 };
        if (text && sscanf(text, "%lu %lu", &f.call, &f.code) != 2) abort();
        return f;
    }();
    static unsigned long n_calls;
    const std::lock_guard<std::recursive_mutex> hold(simt_lock);
    if (planned.call && ++n_calls == planned.call) gone = static_cast<cudaError_t>(planned.code);
    return gone;
}

struct node {
    const char *kind;
    std::function<void()> work;
};
struct capture {
    bool on, spoilt;
    std::vector<node> nodes;
};
thread_local capture taken;

/* A call that a capture cannot hold: it spoils the one that is on. */
cudaError_t outside_of_captures()
{
    if (const cudaError_t error = call()) return error;
    if (!taken.on) return cudaSuccess;
    taken.spoilt = true;
    return cudaErrorStreamCaptureUnsupported;
}

bool guarded()
{
    static const bool on = [] {
        const char *text = getenv("VIDRUN_SIMT_GUARD");
        return text && *text == '1';
    }();
    return on;
}

/* VIDRUN_SIMT_MEMORY: MB of the device, also parts of one, so that a small one can be had */
size_t memory_bytes()
{
    const char *text = getenv("VIDRUN_SIMT_MEMORY");
    return text ? (size_t)(strtod(text, nullptr) * 1048576.0) : (size_t)16 << 30;
}

/* Of the device, for n bytes: pieces of 512 bytes share pages of 2 MB, from half of one on a block has pages of its own. */
size_t device_bytes(size_t n)
{
    const size_t piece = n > (size_t)1 << 20 ? (size_t)2 << 20 : 512;
    return (n + piece - 1) / piece * piece;
}

struct opened {
    opened()
    {
        simt_lock.lock();
        simt_memory_guard(true);
    }
    ~opened()
    {
        simt_memory_guard(false);
        simt_lock.unlock();
    }
};

float number(const void *x, cudaDataType_t type, size_t i)
{
    if (type == CUDA_R_32F) return static_cast<const float *>(x)[i];
    const uint16_t bits = static_cast<const uint16_t *>(x)[i];
    return type == CUDA_R_16F ? vr_half_bits(bits) : __uint_as_float((uint32_t)bits << 16);
}

std::vector<float> widen(const void *x, cudaDataType_t type, int rows, int cols, int ld)
{
    std::vector<float> wide((size_t)rows * (size_t)cols);
    for (int c = 0; c < cols; c++)
        for (int r = 0; r < rows; r++)
            wide[(size_t)c * (size_t)rows + (size_t)r] = number(x, type, (size_t)c * (size_t)ld + (size_t)r);
    return wide;
}

} // namespace

struct simt_graph {
    std::vector<node> nodes;
};
struct simt_graph_ready {
    std::vector<node> nodes;
};
struct simt_blas {
    void *memory;
};

/* How many graphs were launched, and made: whether steps are graphs cannot be seen otherwise. */
extern "C" __attribute__((visibility("default"))) unsigned simt_graph_launches, simt_graph_makes;
unsigned simt_graph_launches, simt_graph_makes;

/* Counts the launch; true: it does nothing. */
bool simt_gone()
{
    return call() != cudaSuccess;
}

/* True: taken down. */
bool simt_capture(const std::function<void()> &work, const char *kind)
{
    if (taken.on) taken.nodes.push_back({ kind, work });
    return taken.on;
}

void simt_memory_guard(bool open)
{
    static int depth;
    if (!guarded()) return;
    depth += open ? 1 : -1;
    if (open ? depth != 1 : depth != 0) return;
    for (const auto &at : allocated) mprotect(at.first, at.second.n_bytes, open ? PROT_READ | PROT_WRITE : PROT_NONE);
}

const char *cudaGetErrorString(cudaError_t error)
{
    static const struct {
        cudaError_t error;
        const char *text;
    } texts[] = { { cudaSuccess, "no error" },
                  { cudaErrorMemoryAllocation, "out of memory" },
                  { cudaErrorInsufficientDriver, "CUDA driver version is insufficient for CUDA runtime version" },
                  { cudaErrorNoDevice, "no CUDA-capable device is detected" },
                  { cudaErrorECCUncorrectable, "uncorrectable ECC error encountered" },
                  { cudaErrorLaunchFailure, "unspecified launch failure" },
                  { cudaErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing" },
                  { cudaErrorStreamCaptureInvalidated, "operation failed due to a previous error during capture" } };
    if (error == cudaErrorLaunchFailure && *simt_report_text()) return simt_report_text();
    for (const auto &t : texts)
        if (t.error == error) return t.text;
    return "error";
}

cudaError_t cudaPeekAtLastError()
{
    if (gone) return gone;
    if (taken.spoilt) return cudaErrorStreamCaptureInvalidated;
    return *simt_report_text() ? cudaErrorLaunchFailure : refused;
}

cudaError_t cudaGetLastError()
{
    const cudaError_t error = cudaPeekAtLastError();
    refused = cudaSuccess;
    return error;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = gone == cudaErrorInsufficientDriver ? 11040 : 13000;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *n)
{
    if (const cudaError_t error = call()) return error;
    *n = 1;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    if (const cudaError_t error = call()) return error;
    return device == 0 ? cudaSuccess : cudaErrorInvalidDevice;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int device)
{
    if (const cudaError_t error = call()) return error;
    if (device != 0) return cudaErrorInvalidDevice;
    *p = cudaDeviceProp();
    snprintf(p->name, sizeof p->name, "SIMT on this processor");
    p->major = 8, p->minor = 0, p->multiProcessorCount = 4, p->totalGlobalMem = memory_bytes();
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *n_free, size_t *n_total)
{
    if (const cudaError_t error = call()) return error;
    *n_total = memory_bytes();
    *n_free = n_allocated < *n_total ? *n_total - n_allocated : 0;
    return cudaSuccess;
}

cudaError_t simt_malloc(void **p, size_t n)
{
    if (const cudaError_t error = outside_of_captures()) return error;
    const std::lock_guard<std::recursive_mutex> hold(simt_lock);
    const size_t n_device = device_bytes(n);
    if (n_device > memory_bytes() || n_allocated > memory_bytes() - n_device) return refused = cudaErrorMemoryAllocation;
    if (guarded()) {
        n = (n + PAGE - 1) / PAGE * PAGE;
        *p = mmap(nullptr, n ? n : PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (*p == MAP_FAILED) return refused = cudaErrorMemoryAllocation;
    } else if (posix_memalign(p, 256, n ? n : 1) != 0) {
        return refused = cudaErrorMemoryAllocation;
    }
    allocated[*p] = { n, n_device };
    n_allocated += n_device;
    return cudaSuccess;
}

cudaError_t cudaFree(void *p)
{
    if (!p) return cudaSuccess;
    if (taken.on) return outside_of_captures();
    const cudaError_t error = call();
    const std::lock_guard<std::recursive_mutex> hold(simt_lock);
    const auto at = allocated.find(p);
    if (at == allocated.end()) abort(); /* was never handed out */
    n_allocated -= at->second.n_device;
    if (guarded())
        munmap(p, at->second.n_bytes ? at->second.n_bytes : PAGE);
    else
        free(p);
    allocated.erase(at);
    if (allocated.empty()) simt_report_clear();
    return error; /* of a device that is gone: the memory is given back all the same */
}

cudaError_t cudaMallocHost(void **p, size_t n)
{
    if (const cudaError_t error = outside_of_captures()) return error;
    *p = malloc(n);
    return *p ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaFreeHost(void *p)
{
    free(p);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, cudaMemcpyKind kind, cudaStream_t stream)
{
    if (const cudaError_t error = kind == cudaMemcpyDeviceToDevice ? call() : outside_of_captures()) return error;
    if (simt_capture([=] { cudaMemcpyAsync(to, from, n, kind, stream); }, "copy")) return cudaPeekAtLastError();
    const opened memory;
    if (n) memmove(to, from, n);
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t n, cudaStream_t stream)
{
    if (const cudaError_t error = call()) return error;
    if (simt_capture([=] { cudaMemsetAsync(to, value, n, stream); }, "fill")) return cudaPeekAtLastError();
    const opened memory;
    if (n) memset(to, value, n);
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t)
{
    if (const cudaError_t error = outside_of_captures()) return error;
    return cudaPeekAtLastError();
}

cudaError_t cudaEventSynchronize(cudaEvent_t)
{
    return outside_of_captures();
}

cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode mode)
{
    if (const cudaError_t error = outside_of_captures()) return error;
    if (mode == cudaStreamCaptureModeGlobal) return cudaErrorStreamCaptureUnsupported; /* others upload meanwhile */
    taken = { true, false, {} };
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t *graph)
{
    const cudaError_t error = call();
    const bool good = error == cudaSuccess && taken.on && !taken.spoilt;
    *graph = good ? new simt_graph{ taken.nodes } : nullptr;
    taken = { false, false, {} };
    return good ? cudaSuccess : error ? error : cudaErrorStreamCaptureInvalidated;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *ready, cudaGraph_t graph, unsigned long long)
{
    if (const cudaError_t error = outside_of_captures()) return error;
    *ready = new simt_graph_ready{ graph->nodes };
    simt_graph_makes++;
    return cudaSuccess;
}

cudaError_t cudaGraphExecUpdate(cudaGraphExec_t ready, cudaGraph_t graph, cudaGraphExecUpdateResultInfo *result)
{
    if (const cudaError_t error = call()) return error;
    bool same = ready->nodes.size() == graph->nodes.size();
    for (size_t i = 0; same && i < ready->nodes.size(); i++) same = strcmp(ready->nodes[i].kind, graph->nodes[i].kind) == 0;
    result->result = same ? 0 : 1;
    if (!same) return cudaErrorGraphExecUpdateFailure;
    ready->nodes = graph->nodes;
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t ready, cudaStream_t)
{
    if (const cudaError_t error = outside_of_captures()) return error;
    simt_graph_launches++;
    for (const node &n : ready->nodes) n.work();
    return cudaPeekAtLastError();
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return call();
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t ready)
{
    delete ready;
    return call();
}

cublasStatus_t cublasCreate(cublasHandle_t *h)
{
    *h = nullptr;
    if (call()) return CUBLAS_STATUS_ALLOC_FAILED;
    *h = new simt_blas{ nullptr };
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy(cublasHandle_t h)
{
    delete h;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace(cublasHandle_t h, void *memory, size_t)
{
    h->memory = memory;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGemmEx(cublasHandle_t h, cublasOperation_t transa, cublasOperation_t transb, int m, int n, int k,
                            const void *alpha, const void *a, cudaDataType_t a_type, int lda, const void *b,
                            cudaDataType_t b_type, int ldb, const void *beta, void *c, cudaDataType_t c_type, int ldc,
                            cublasComputeType_t compute, cublasGemmAlgo_t algorithm)
{
    if (call()) return CUBLAS_STATUS_EXECUTION_FAILED;
    if (transa != CUBLAS_OP_T || transb != CUBLAS_OP_N || c_type != CUDA_R_32F || lda < k || ldb < k || ldc < m || k < 1)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (taken.on && !h->memory) {
        taken.spoilt = true;
        return CUBLAS_STATUS_ALLOC_FAILED;
    }
    const float by = *static_cast<const float *>(alpha), plus = *static_cast<const float *>(beta);
    if (simt_capture(
            [=] {
                cublasGemmEx(h, transa, transb, m, n, k, &by, a, a_type, lda, b, b_type, ldb, &plus, c, c_type, ldc, compute,
                             algorithm);
            },
            "product"))
        return CUBLAS_STATUS_SUCCESS;
    const opened memory;
    const std::vector<float> left = widen(a, a_type, k, m, lda), right = widen(b, b_type, k, n, ldb);
    cblas_sgemm(CblasColMajor, CblasTrans, CblasNoTrans, m, n, k, by, left.data(), k, right.data(), k, plus,
                static_cast<float *>(c), ldc);
    return CUBLAS_STATUS_SUCCESS;
}
