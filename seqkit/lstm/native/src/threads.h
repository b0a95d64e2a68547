// Threads: who runs a parallel region, and how its threads wait for each other.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#endif
#include <unistd.h>

namespace seqkit {

// ---- who runs a region ----
//
// torch computes on an OpenMP runtime whose workers spin for a while after each of its operators. Threads of another
// pool would have to fight them for the cores, so regions run on that same runtime where Python handed it in. In a
// forked child its workers are gone and it would wait for them for ever; there, and without it, a call starts threads
// of its own and ends them: a region of two threads then takes 65 microseconds instead of 17.
struct OpenMP {
    void (*parallel)(void (*)(void*), void*, unsigned, unsigned) = nullptr;  // GOMP_parallel, which LLVM's has too
    int (*thread_number)() = nullptr;
    int (*thread_count)() = nullptr;
    int process = 0;  // where it was handed in

    bool serves() const { return parallel != nullptr && process == static_cast<int>(getpid()); }
};
inline OpenMP openmp;

// Run body(number, count) on `count` threads at once, at most `wanted` of them: as many as can be had.
template <class Body>
void run_region(int64_t wanted, Body&& body) {
    if (wanted <= 1) {
        body(0, 1);
    } else if (openmp.serves()) {
        const auto run = [](void* given) {
            auto& own = *static_cast<std::remove_reference_t<Body>*>(given);
            own(openmp.thread_number(), openmp.thread_count());
        };
        openmp.parallel(run, &body, static_cast<unsigned>(wanted), 0);
    } else {
        std::vector<std::thread> threads;
        std::atomic<int64_t> count{0};  // stays 0 until all threads that there will be are there
        try {
            for (int64_t n = 1; n < wanted; n++) {
                threads.emplace_back([&body, &count, n] {
                    while (count.load(std::memory_order_acquire) == 0) std::this_thread::yield();
                    body(n, count.load(std::memory_order_acquire));
                });
            }
        } catch (const std::system_error&) {
            // The system gives no more threads; the work is dealt to those that there are.
        }
        const int64_t got = static_cast<int64_t>(threads.size()) + 1;
        count.store(got, std::memory_order_release);
        body(0, got);
        for (std::thread& thread : threads) thread.join();
    }
}

// ---- how they wait ----

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// A barrier for `count` threads. It spins for about 25 microseconds, then sleeps in the kernel: where another program
// holds a core, the thread that was put aside can move to the core that the sleeper leaves free.
class alignas(64) Barrier {
  public:
    void wait(int64_t count) {
        if (count == 1) return;
        const uint32_t before = generation.load(std::memory_order_relaxed);
        if (arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == count) {
            arrived.store(0, std::memory_order_relaxed);
            generation.store(before + 1, std::memory_order_seq_cst);
            if (sleepers.load(std::memory_order_seq_cst) > 0) wake();
            return;
        }
        for (int spin = 0; spin < 1000; spin++) {
            if (generation.load(std::memory_order_acquire) != before) return;
            pause();
        }
        sleepers.fetch_add(1, std::memory_order_seq_cst);
        while (generation.load(std::memory_order_seq_cst) == before) sleep(before);
        sleepers.fetch_sub(1, std::memory_order_relaxed);
    }

  private:
    void sleep(uint32_t before) {
#if defined(__linux__)
        syscall(SYS_futex, &generation, FUTEX_WAIT_PRIVATE, before, nullptr, nullptr, 0);
#else
        (void)before;
        std::this_thread::yield();
#endif
    }
    void wake() {
#if defined(__linux__)
        syscall(SYS_futex, &generation, FUTEX_WAKE_PRIVATE, 0x7fffffff, nullptr, nullptr, 0);
#endif
    }

    alignas(64) std::atomic<int64_t> arrived{0};
    alignas(64) std::atomic<uint32_t> generation{0};
    std::atomic<int32_t> sleepers{0};
};

}  // namespace seqkit
