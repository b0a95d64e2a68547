// What Python calls: a C interface of plain pointers and integers, so that one binary serves every release of torch
// and of Python. `library.py` mirrors the structs.
//
// Shapes: N real steps, T time steps, B rows of the state, I inputs, H hidden, D directions. A batch is packed as in
// `seqkit.sequences`: rows stand time step by time step; row r of step t belongs to the r-th longest sequence, and
// batch_sizes[t] of them are still running. The second direction reads every sequence from its end.
// All floats are float32, all tensors dense and row-major. Sizes of buffers are counted in floats.
#pragma once

#include <cstdint>

#if defined(_WIN32)
#define SEQKIT_API extern "C" __declspec(dllexport)
#else
#define SEQKIT_API extern "C" __attribute__((visibility("default")))
#endif

struct Problem {
    int64_t steps;               // N
    int64_t time;                // T
    int64_t rows;                // B; rows from batch_sizes[0] on have no steps
    int64_t inputs;              // I
    int64_t hidden;              // H
    int64_t directions;          // D, 1 or 2
    int64_t threads;             // at most so many; at least 1
    int64_t row_groups;          // groups that the rows are dealt to; 0: chosen by shape
    const int64_t* batch_sizes;  // (T,)
};

struct Forward {
    Problem problem;
    const float* data;            // (N, I)
    const float* const* weights;  // of each direction weight_ih (4H, I), weight_hh (4H, H), bias_ih, bias_hh (4H,)
    const float* packed;          // the weights as seqkit_pack left them, or null: then this call packs them
    const float* h_0;             // (D, B, H)
    const float* c_0;             // (D, B, H)
    float* output;                // (N, D * H)
    float* h_n;                   // (D, B, H)
    float* c_n;                   // (D, B, H)
    float* gates;                 // saved for backward, `gates` floats of Sizes; null: nothing is saved
    float* cells;                 // likewise, `cells` floats
    float* workspace;             // as `forward_workspace` of Sizes says
};

struct Backward {
    Problem problem;
    const float* grad_output;  // (N, D * H), or null for zeros; so are the next two
    const float* grad_h_n;     // (D, B, H)
    const float* grad_c_n;     // (D, B, H)
    const float* data;         // this and the others up to cells: as forward had them or left them
    const float* const* weights;
    const float* h_0;
    const float* c_0;
    const float* output;
    const float* gates;
    const float* cells;
    float* grad_data;            // (N, I), or null: not wanted
    float* const* grad_weights;  // as weights
    float* grad_h_0;             // (D, B, H)
    float* grad_c_0;             // (D, B, H)
    float* workspace;            // `backward_workspace` floats
};

struct Sizes {                   // floats that the caller provides
    int64_t gates;
    int64_t cells;
    int64_t packed;
    int64_t forward_workspace;   // and `packed` more where the weights are not given packed
    int64_t backward_workspace;
};

// The hash of the sources that this library was compiled from, and the instruction set that it was compiled for.
SEQKIT_API const char* seqkit_source_hash();
SEQKIT_API const char* seqkit_instruction_set();
// sizeof(Problem), sizeof(Forward), sizeof(Backward), one behind the other: does the caller mean the same structs?
SEQKIT_API int64_t seqkit_struct_sizes();
// Whether this CPU runs "avx512", "avx2" or "portable". Only the portable library may be asked: the others' code may
// hold instructions that the CPU lacks.
SEQKIT_API int32_t seqkit_cpu_runs(const char* instruction_set);

// Run parallel regions on an OpenMP runtime that is in the process already: the addresses of its GOMP_parallel,
// omp_get_thread_num and omp_get_num_threads. Without it, and in a forked child, threads are started by each call.
SEQKIT_API void seqkit_use_openmp(void* gomp_parallel, void* thread_number, void* thread_count);

SEQKIT_API void seqkit_sizes(const Problem* problem, Sizes* sizes);
// Pack the weights of all directions (steps, time, rows and batch_sizes do not matter).
SEQKIT_API void seqkit_pack(const Problem* problem, const float* const* weights, float* packed);
// A hash of the weights' bits, to see whether packed ones are stale. Any change of one number changes it.
SEQKIT_API uint64_t seqkit_fingerprint(const Problem* problem, const float* const* weights);
SEQKIT_API void seqkit_forward(const Forward* call);
SEQKIT_API void seqkit_backward(const Backward* call);

// For the benchmark: floating-point operations a second of `threads` threads that do nothing but multiply-add in
// registers, measured over `rounds` loops.
SEQKIT_API double seqkit_peak(int64_t threads, int64_t rounds);
// For tests: how many threads a region of `threads` gets, and which of "openmp", "threads" or "caller" runs it.
SEQKIT_API int64_t seqkit_team(int64_t threads, const char** runtime);
