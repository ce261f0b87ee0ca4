/*
 * simt_runtime.cc - see simt_runtime.h.
 */
#include "simt_runtime.h"

#include <cblas.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sys/mman.h>
#include <vector>

#include "simt.h"

const char *simt_report_text();
void simt_report_clear();
void simt_memory_guard(bool open);

namespace
{

std::map<void *, size_t> allocated;
size_t n_allocated;
const size_t PAGE = 4096;
cudaError_t refused = cudaSuccess;

bool guarded()
{
    static const bool on = [] {
        const char *text = getenv("VIDRUN_SIMT_GUARD");
        return text && *text == '1';
    }();
    return on;
}

/* VIDRUN_SIMT_MEMORY: MB of the device, so that a small one can be had */
size_t memory_bytes()
{
    const char *text = getenv("VIDRUN_SIMT_MEMORY");
    return text ? (size_t)strtoull(text, nullptr, 10) << 20 : (size_t)16 << 30;
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

void simt_memory_guard(bool open)
{
    static int depth;
    if (!guarded()) return;
    depth += open ? 1 : -1;
    if (open ? depth != 1 : depth != 0) return;
    for (const auto &block : allocated) mprotect(block.first, block.second, open ? PROT_READ | PROT_WRITE : PROT_NONE);
}

const char *cudaGetErrorString(cudaError_t error)
{
    if (error == cudaErrorLaunchFailure) return simt_report_text();
    return error == cudaErrorMemoryAllocation ? "out of memory" : error == cudaSuccess ? "no error" : "error";
}

cudaError_t cudaPeekAtLastError()
{
    return *simt_report_text() ? cudaErrorLaunchFailure : refused;
}

cudaError_t cudaGetLastError()
{
    const cudaError_t error = refused;
    refused = cudaSuccess;
    return *simt_report_text() ? cudaErrorLaunchFailure : error;
}

cudaError_t cudaGetDeviceCount(int *n)
{
    *n = 1;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    return device == 0 ? cudaSuccess : cudaErrorInvalidDevice;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int device)
{
    if (device != 0) return cudaErrorInvalidDevice;
    *p = cudaDeviceProp();
    snprintf(p->name, sizeof p->name, "SIMT on this processor");
    p->major = 8, p->minor = 0, p->multiProcessorCount = 4, p->totalGlobalMem = memory_bytes();
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *n_free, size_t *n_total)
{
    *n_total = memory_bytes();
    *n_free = n_allocated < *n_total ? *n_total - n_allocated : 0;
    return cudaSuccess;
}

cudaError_t simt_malloc(void **p, size_t n)
{
    const std::lock_guard<std::recursive_mutex> hold(simt_lock);
    if (n > memory_bytes() || n_allocated > memory_bytes() - n) return refused = cudaErrorMemoryAllocation;
    if (guarded()) {
        n = (n + PAGE - 1) / PAGE * PAGE;
        *p = mmap(nullptr, n ? n : PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (*p == MAP_FAILED) return refused = cudaErrorMemoryAllocation;
    } else if (posix_memalign(p, 256, n ? n : 1) != 0) {
        return refused = cudaErrorMemoryAllocation;
    }
    allocated[*p] = n;
    n_allocated += n;
    return cudaSuccess;
}

cudaError_t cudaFree(void *p)
{
    if (!p) return cudaSuccess;
    const std::lock_guard<std::recursive_mutex> hold(simt_lock);
    const auto at = allocated.find(p);
    if (at == allocated.end()) abort(); /* was never handed out */
    n_allocated -= at->second;
    if (guarded())
        munmap(p, at->second ? at->second : PAGE);
    else
        free(p);
    allocated.erase(at);
    if (allocated.empty()) simt_report_clear();
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **p, size_t n)
{
    *p = malloc(n);
    return *p ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaFreeHost(void *p)
{
    free(p);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, cudaMemcpyKind, cudaStream_t)
{
    const opened memory;
    if (n) memmove(to, from, n);
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t n, cudaStream_t)
{
    const opened memory;
    if (n) memset(to, value, n);
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t)
{
    return cudaPeekAtLastError();
}

cublasStatus_t cublasGemmEx(cublasHandle_t, cublasOperation_t transa, cublasOperation_t transb, int m, int n, int k,
                            const void *alpha, const void *a, cudaDataType_t a_type, int lda, const void *b,
                            cudaDataType_t b_type, int ldb, const void *beta, void *c, cudaDataType_t c_type, int ldc,
                            cublasComputeType_t, cublasGemmAlgo_t)
{
    if (transa != CUBLAS_OP_T || transb != CUBLAS_OP_N || c_type != CUDA_R_32F || lda < k || ldb < k || ldc < m || k < 1)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    const opened memory;
    const std::vector<float> left = widen(a, a_type, k, m, lda), right = widen(b, b_type, k, n, ldb);
    cblas_sgemm(CblasColMajor, CblasTrans, CblasNoTrans, m, n, k, *static_cast<const float *>(alpha), left.data(), k,
                right.data(), k, *static_cast<const float *>(beta), static_cast<float *>(c), ldc);
    return CUBLAS_STATUS_SUCCESS;
}
