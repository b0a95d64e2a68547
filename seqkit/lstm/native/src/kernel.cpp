// The library: what api.h declares. Compiled once for each instruction set; nothing else of it is visible outside.
#include "api.h"

#include <cstring>

#include "backward.h"
#include "forward.h"

#if !defined(SEQKIT_SOURCE_HASH)
#define SEQKIT_SOURCE_HASH ""
#endif

using namespace seqkit;

const char* seqkit_source_hash() { return SEQKIT_SOURCE_HASH; }

const char* seqkit_instruction_set() {
#if defined(__AVX512F__)
    return "avx512";
#elif defined(__AVX2__)
    return "avx2";
#else
    return "portable";
#endif
}

int64_t seqkit_struct_sizes() {
    return static_cast<int64_t>(sizeof(Problem) * 1000000 + sizeof(Forward) * 1000 + sizeof(Backward));
}

int32_t seqkit_cpu_runs(const char* instruction_set) {
    if (std::strcmp(instruction_set, "portable") == 0) return 1;
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
    if (std::strcmp(instruction_set, "avx2") == 0) return avx2;
    if (std::strcmp(instruction_set, "avx512") == 0) {
        return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl");
    }
#endif
    return 0;
}

void seqkit_use_openmp(void* gomp_parallel, void* thread_number, void* thread_count) {
    openmp.parallel = reinterpret_cast<decltype(openmp.parallel)>(gomp_parallel);
    openmp.thread_number = reinterpret_cast<decltype(openmp.thread_number)>(thread_number);
    openmp.thread_count = reinterpret_cast<decltype(openmp.thread_count)>(thread_count);
    openmp.process = static_cast<int>(getpid());
}

void seqkit_sizes(const Problem* problem, Sizes* sizes) {
    const Problem& p = *problem;
    const int64_t padded = Layout(p).panels * V;
    float given = 0;
    Forward forward_call = {};
    forward_call.problem = p;
    forward_call.packed = &given;
    Backward backward_call = {};
    backward_call.problem = p;
    sizes->gates = p.directions * p.steps * padded * 4;
    sizes->cells = p.directions * p.steps * padded;
    sizes->packed = p.directions * Packed::size(p);
    sizes->forward_workspace = ForwardSpace(forward_call, nullptr).size;
    sizes->backward_workspace = BackwardSpace(backward_call, nullptr).size;
}

void seqkit_pack(const Problem* problem, const float* const* weights, float* packed) {
    const Problem& p = *problem;
    run_region(p.threads, [&](int64_t number, int64_t count) {
        for (int64_t d = 0; d < p.directions; d++)
            pack_forward(p, weights + 4 * d, Packed(p, packed + d * Packed::size(p)), number, count);
    });
}

uint64_t seqkit_fingerprint(const Problem* problem, const float* const* weights) {
    const Problem& p = *problem;
    const int64_t gates = 4 * p.hidden, sizes[4] = {gates * p.inputs, gates * p.hidden, gates, gates};
    // Each weight in eighths, whatever the number of threads, so that this does not change the result.
    constexpr int64_t parts = 8, most = 2 * 4 * parts;
    uint64_t of[most] = {};
    const int64_t pieces = p.directions * 4 * parts;
    run_region(sizes[0] + sizes[1] > 1 << 16 ? p.threads : 1, [&](int64_t number, int64_t count) {
        const Span own = share(parts, count, number);
        for (int64_t n = 0; n < pieces; n++) {
            if (n % parts < own.first || n % parts >= own.end) continue;
            const Span part = share(sizes[n / parts % 4], parts, n % parts);
            of[n] = fingerprint(weights[n / parts] + part.first, part.end - part.first);
        }
    });
    uint64_t all = 0;
    for (int64_t n = 0; n < pieces; n++) {
        all = (all ^ of[n]) * 0x9e3779b97f4a7c15u;
        all ^= all >> 32;
    }
    return all;
}

void seqkit_forward(const Forward* call) { forward(*call); }

void seqkit_backward(const Backward* call) { backward(*call); }

double seqkit_peak(int64_t threads, int64_t rounds) {
    constexpr int chains = MR * NV;
    std::atomic<int64_t> nanoseconds{0}, count{1};
    std::atomic<float> kept{0};  // or the compiler would leave the loop out
    Barrier barrier;
    run_region(threads, [&](int64_t number, int64_t got) {
        Vec sum[chains];
        // Equal ones would be merged by the compiler.
        unroll<chains>([&](auto c) { sum[c] = broadcast(static_cast<float>(c + number)); });
        const Vec a = broadcast(0.5f + 1e-9f * static_cast<float>(rounds)), b = broadcast(1.0f);
        barrier.wait(got);
        const auto start = std::chrono::steady_clock::now();
        for (int64_t round = 0; round < rounds; round++) unroll<chains>([&](auto c) { sum[c] = sum[c] * a + b; });
        const auto took = std::chrono::steady_clock::now() - start;
        unroll<chains>([&](auto c) { kept = kept + sum[c][0]; });
        barrier.wait(got);
        if (number == 0) {
            nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(took).count();
            count = got;
        }
    });
    const double operations = static_cast<double>(count) * static_cast<double>(rounds) * chains * V * 2;
    return operations / static_cast<double>(nanoseconds) * 1e9;
}

int64_t seqkit_team(int64_t threads, const char** runtime) {
    std::atomic<int64_t> got{0};
    run_region(threads, [&](int64_t, int64_t) { got++; });
    *runtime = threads <= 1 ? "caller" : openmp.serves() ? "openmp" : "threads";
    return got;
}
