// The layer forward: chunk by chunk the input projection of all tokens at once, then the recurrence step by step.
//
//     z_t = W_ih x_t + b + W_hh h_{t-1}       i, f, o = sigmoid(z)    g = tanh(z)
//     C_t = f * C_{t-1} + i * g               h_t = o * tanh(C_t)
//
// A thread computes the panels that it has for the rows of its group; the only thing it needs from others is h_{t-1} of
// the other members of its group. Where the projection would be one product of a whole chunk or one for
// each step, the former reads W_ih once for six steps of 32 rows.
#pragma once

#include "activations.h"
#include "microkernel.h"
#include "packing.h"
#include "team.h"

namespace seqkit {

struct ForwardSpace {
    ForwardSpace(const Forward& call, float* memory) {
        const Problem& p = call.problem;
        const Layout layout(p);
        Arena arena(memory);
        offsets = reinterpret_cast<int64_t*>(arena.take(2 * p.time));
        gates_size = call.gates ? 0 : layout.panels * layout.chunk_tokens * PANEL;
        gates = arena.take(p.directions * gates_size);
        h_size = 2 * p.rows * layout.h_stride;
        h = arena.take(p.directions * h_size);
        cells_size = layout.panels * p.rows * V;
        cells = arena.take(p.directions * cells_size);
        packed = call.packed ? const_cast<float*>(call.packed) : arena.take(p.directions * Packed::size(p));
        size = arena.size();
    }

    int64_t* offsets;                   // (T,)
    float *gates, *h, *cells, *packed;  // of each direction, one behind the other
    int64_t gates_size, h_size, cells_size;
    int64_t size;
};

// One thread's part of one direction.
class ForwardPass {
  public:
    ForwardPass(const Forward& call, const ForwardSpace& space, const Worker& worker, int64_t direction)
        : call(call),
          p(call.problem),
          layout(p),
          worker(worker),
          rows(worker.rows()),
          panels(worker.panels(layout)),
          direction(direction),
          clock(p, space.offsets, direction == 1),
          packed(p, space.packed + direction * Packed::size(p)),
          saving(call.gates != nullptr),
          gates(saving ? call.gates + direction * layout.panels * p.steps * PANEL
                       : space.gates + direction * space.gates_size),
          saved_cells(saving ? call.cells + direction * layout.panels * p.steps * V : nullptr),
          h(space.h + direction * space.h_size),
          cells(space.cells + direction * space.cells_size),
          output(call.output + direction * p.hidden),
          output_stride(p.directions * p.hidden) {}

    void run() {
        if (!call.packed)
            pack_forward(p, call.weights + 4 * direction, packed, worker.mate, worker.plan.team_threads());
        start();
        worker.meet_team();
        for (int64_t s = 0; s < p.time;) {
            const Chunk chunk = chunk_from(clock, s);
            project(chunk);
            for (; s < chunk.end; s++) {
                step(s, chunk);
                worker.meet_group();
            }
            // Inference keeps the gates of one chunk only, and another group may still be at work on this one's.
            if (!saving && worker.plan.groups > 1) worker.meet_team();
        }
        finish();
    }

  private:
    // Both halves of h and the cells start as the initial state, so that rows find it at whichever step they join.
    void start() {
        for (int64_t j = 0; j < rows.count(p.rows); j++) {
            const int64_t row = rows.row(j), at = (direction * p.rows + row) * p.hidden;
            for (int64_t panel = panels.first; panel < panels.end; panel++) {
                const int64_t units = p.hidden - panel * V;
                const Vec h_0 = load_part(call.h_0 + at + panel * V, units);
                store(h_of(0, row) + panel * V, h_0);
                store(h_of(1, row) + panel * V, h_0);
                store(cell_of(panel, row), load_part(call.c_0 + at + panel * V, units));
            }
        }
    }

    // z's part from the inputs, with the bias, for the group's tokens of a chunk.
    void project(const Chunk& chunk) {
        if (worker.plan.groups == 1) return project(chunk, chunk.token, 1, chunk.tokens);
        for (int64_t s = chunk.first; s < chunk.end; s++)
            project(chunk, clock.token(s) + rows.group, rows.groups, rows.count(clock.rows(s)));
    }

    void project(const Chunk& chunk, int64_t token, int64_t token_stride, int64_t count) {
        alignas(64) float tile[MR * PANEL];
        for (int64_t panel = panels.first; panel < panels.end; panel++) {
            const float* bias = packed.bias + panel * PANEL;
            blocks_of_rows(count, [&](int64_t first, int64_t block) {
                const int64_t at = token + first * token_stride;
                const Left left = {call.data + at * p.inputs, token_stride * p.inputs, p.inputs};
                multiply(left, block, packed.input, p.inputs, panel, tile);
                for (int64_t n = 0; n < block; n++) {
                    float* to = gates_of(panel, at + n * token_stride, chunk);
                    unroll<4>([&](auto g) { store(to + g * V, load(tile + n * PANEL + g * V) + load(bias + g * V)); });
                }
            });
        }
    }

    void step(int64_t s, const Chunk& chunk) {
        alignas(64) float tile[MR * PANEL];
        const int64_t token = clock.token(s), parity = s & 1;
        for (int64_t panel = panels.first; panel < panels.end; panel++) {
            blocks_of_rows(rows.count(clock.rows(s)), [&](int64_t first, int64_t block) {
                const Left left = {h_of(parity, rows.row(first)), rows.groups * layout.h_stride, p.hidden};
                multiply(left, block, packed.recurrent, p.hidden, panel, tile);
                for (int64_t n = 0; n < block; n++) {
                    const int64_t row = rows.row(first + n);
                    advance(panel, row, token + row, tile + n * PANEL, gates_of(panel, token + row, chunk), 1 - parity);
                }
            });
        }
    }

    // The equations, for one row and one panel; z's two parts stand in `recurrent` and `at`.
    SEQKIT_INLINE void advance(int64_t panel, int64_t row, int64_t token, const float* recurrent, float* at,
                               int64_t parity) {
        float* cell = cell_of(panel, row);
        Vec i, f, g, o;
        const auto z = [&](int64_t gate) { return load(at + gate * V) + load(recurrent + gate * V); };
        divide(sigmoid(z(0)), sigmoid(z(1)), i, f);
        divide(tanh(z(2)), sigmoid(z(3)), g, o);
        const Vec c = f * load(cell) + i * g;
        const Vec new_h = o * divide(tanh(c));
        store(cell, c);
        store(h_of(parity, row) + panel * V, new_h);
        store_part(output + token * output_stride + panel * V, new_h, p.hidden - panel * V);
        if (saving) {
            store(at, i);
            store(at + V, f);
            store(at + 2 * V, g);
            store(at + 3 * V, o);
            store(saved_cells + (panel * p.steps + token) * V, c);
        }
    }

    // A row's last h stands in the output, its last cell where the steps left it; without steps it keeps its state.
    void finish() {
        const int64_t first = panels.first * V, end = std::min(panels.end * V, p.hidden);
        const auto final_h = [&](int64_t row, const float* from) {
            std::copy(from + first, from + end, call.h_n + (direction * p.rows + row) * p.hidden + first);
        };
        for (int64_t s = 0; s < p.time; s++) {
            const int64_t all = rows.count(clock.rows(s));
            for (int64_t j = rows.count(clock.rows(s + 1)); j < all; j++)
                final_h(rows.row(j), output + (clock.token(s) + rows.row(j)) * output_stride);
        }
        const int64_t with_steps = p.time ? p.batch_sizes[0] : 0;
        for (int64_t j = rows.count(with_steps); j < rows.count(p.rows); j++)
            final_h(rows.row(j), call.h_0 + (direction * p.rows + rows.row(j)) * p.hidden);
        for (int64_t j = 0; j < rows.count(p.rows); j++) {
            for (int64_t panel = panels.first; panel < panels.end; panel++) {
                float* to = call.c_n + (direction * p.rows + rows.row(j)) * p.hidden + panel * V;
                store_part(to, load(cell_of(panel, rows.row(j))), p.hidden - panel * V);
            }
        }
    }

    // tile[row][4V] = left * one panel of packed weights, for at most MR rows.
    static void multiply(const Left& left, int64_t count, const float* weights, int64_t K, int64_t panel, float* tile) {
        for (int64_t strip = 0; strip < STRIPS; strip++) {
            const float* right = weights + (panel * STRIPS + strip) * K * STRIP;
            micro_kernels.of[count][NV](left, right, STRIP, tile + strip * STRIP, PANEL, false);
        }
    }

    float* h_of(int64_t parity, int64_t row) const { return h + (parity * p.rows + row) * layout.h_stride; }
    float* cell_of(int64_t panel, int64_t row) const { return cells + (panel * p.rows + row) * V; }
    // Training keeps the gates of all tokens, inference those of a chunk.
    float* gates_of(int64_t panel, int64_t token, const Chunk& chunk) const {
        return saving ? gates + (panel * p.steps + token) * PANEL
                      : gates + (panel * layout.chunk_tokens + token - chunk.token) * PANEL;
    }

    const Forward& call;
    const Problem& p;
    const Layout layout;
    const Worker& worker;
    const RowsOfGroup rows;
    const Span panels;
    const int64_t direction;
    const Clock clock;
    const Packed packed;
    const bool saving;
    float *const gates, *const saved_cells, *const h, *const cells, *const output;
    const int64_t output_stride;
};

inline void forward(const Forward& call) {
    const Problem& p = call.problem;
    const ForwardSpace space(call, call.workspace);
    fill_offsets(p, space.offsets);
    run_workers(p, [&](const Worker& worker) {
        for (int64_t d = worker.team; d < p.directions; d += worker.plan.teams)
            ForwardPass(call, space, worker, d).run();
    });
}

}  // namespace seqkit
