/*
 * cblas.h - as much of OpenBLAS as kernels/cpu asks for: where this is cross-compiled there is none for AArch64.
 */
#ifndef VR_TEST_CBLAS_H
#define VR_TEST_CBLAS_H

enum { CblasRowMajor = 101, CblasNoTrans = 111, CblasTrans = 112 };

/* C[i][j] = alpha sum_k A[i][k] B[j][k] + beta C[i][j] for the one form that is used: rows, B turned, beta 0. */
void cblas_sgemm(int order, int turn_a, int turn_b, int M, int N, int K, float alpha, const float *a, int a_row, const float *b,
                 int b_row, float beta, float *c, int c_row);
void openblas_set_num_threads(int n_threads);

#endif
