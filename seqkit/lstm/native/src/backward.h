// The layer backward through time: chunk by chunk from the last step the recurrence, then what follows from it for the
// inputs and the weights. With a' for what enters a gate's nonlinearity:
//
//     dh_t = dY_t + W_hh^T da'_{t+1}          dC_t = dC_{t+1} f_{t+1} + dh_t o (1 - tanh(C_t)^2)
//     di' = dC_t g i (1 - i)                  df' = dC_t C_{t-1} f (1 - f)
//     dg' = dC_t i (1 - g^2)                  do' = dh_t tanh(C_t) o (1 - o)
//     dx_t = W_ih^T da'_t                     dW_ih += da'_t x_t^T      dW_hh += da'_t h_{t-1}^T      db += da'_t
//
// W_hh^T da' sums over all gates, of which a thread has those of its panels. Each member of a group multiplies its own
// ones and leaves the partial sums, H numbers a row, to the others: a quarter of what it would have to read of their
// da' (4H numbers a row), and da' comes hot from its own cache.
#pragma once

#include "activations.h"
#include "microkernel.h"
#include "packing.h"
#include "team.h"

namespace seqkit {

struct BackwardSpace {
    BackwardSpace(const Backward& call, float* memory) {
        const Problem& p = call.problem;
        const Layout layout(p);
        Arena arena(memory);
        offsets = reinterpret_cast<int64_t*>(arena.take(2 * p.time));
        Direction each;  // sizes first, then the second direction's memory behind the first's
        for (int64_t d = 0; d < p.directions; d++) {
            each.input_weights = arena.take(layout.input_strips * layout.panels * PANEL * STRIP);
            each.recurrent_weights = arena.take(layout.hidden_strips * layout.panels * PANEL * STRIP);
            each.grad_gates = arena.take(layout.panels * layout.chunk_tokens * PANEL);
            each.partial = arena.take(2 * p.threads * p.rows * layout.hidden_strips * STRIP);
            each.grad_cells = arena.take(layout.panels * p.rows * V);
            each.sums = arena.take(layout.panels * (p.inputs + p.hidden) * PANEL);
            each.bias_sums = arena.take(layout.panels * PANEL);
            each.left = arena.take((p.inputs + p.hidden) * layout.chunk_tokens);
            of[d] = each;
        }
        second_grad_data = p.directions == 2 ? arena.take(p.steps * p.inputs) : nullptr;
        size = arena.size();
    }

    struct Direction {
        float* input_weights;      // [columns / (NV V)][k][NV V]
        float* recurrent_weights;  // likewise
        float* grad_gates;         // da' of a chunk
        float* partial;            // [parity][member][row][columns] partial sums of W_hh^T da'
        float* grad_cells;         // [panel][row][V] dC, carried from step to step
        float* sums;               // [panel][k][4V] the weights' gradients
        float* bias_sums;          // [panel][4V]
        float* left;               // [columns / MR][token][MR] inputs and h_{t-1} of a chunk
    };

    int64_t* offsets;  // (T,)
    Direction of[2];
    float* second_grad_data;  // (N, I) of the second direction, where both are computed at the same time
    int64_t size;
};

// One thread's part of one direction.
class BackwardPass {
  public:
    BackwardPass(const Backward& call, const BackwardSpace& space, const Worker& worker, int64_t direction)
        : call(call), p(call.problem), layout(p), worker(worker), rows(worker.rows()), panels(worker.panels(layout)),
          direction(direction), clock(p, space.offsets, direction == 1), space(space.of[direction]),
          output_stride(p.directions * p.hidden), output(call.output + direction * p.hidden),
          grad_output(call.grad_output ? call.grad_output + direction * p.hidden : nullptr),
          gates(call.gates + direction * layout.panels * p.steps * PANEL),
          cells(call.cells + direction * layout.panels * p.steps * V), partial_stride(layout.hidden_strips * STRIP),
          adding(direction == 1 && worker.plan.teams == 1),
          grad_data(call.grad_data && direction == 1 && !adding ? space.second_grad_data : call.grad_data) {}

    void run() {
        start();
        worker.meet_team();
        for (int64_t end = p.time; end > 0;) {
            const Chunk chunk = chunk_before(clock, end);
            for (int64_t s = chunk.end - 1; s >= chunk.first; s--) step(s, chunk);
            turn_left(chunk);
            worker.meet_team();
            if (grad_data) add_grad_data(chunk);
            add_grad_weights(chunk, end == p.time);
            worker.meet_team();  // before the next chunk's da' take the place of this one's
            end = chunk.first;
        }
        finish();
    }

  private:
    void start() {
        const Span hidden = share(layout.hidden_strips, threads(), worker.mate);
        for (int64_t strip = hidden.first; strip < hidden.end; strip++)
            pack_backward(weight(1), p.hidden, p.hidden, strip, space.recurrent_weights + strip * depth() * STRIP);
        const Span inputs = share(grad_data ? layout.input_strips : 0, threads(), worker.mate);
        for (int64_t strip = inputs.first; strip < inputs.end; strip++)
            pack_backward(weight(0), p.hidden, p.inputs, strip, space.input_weights + strip * depth() * STRIP);
        for (int64_t j = 0; j < rows.count(p.rows); j++) {
            for (int64_t panel = panels.first; panel < panels.end; panel++)
                store(grad_cell_of(panel, rows.row(j)), state_part(call.grad_c_n, rows.row(j), panel));
        }
        if (panels.first == panels.end) {  // more members than panels: this one's partial sums stay zeros
            for (int64_t parity = 0; parity < 2; parity++)
                std::fill_n(partial_of(parity, worker.member, 0), p.rows * partial_stride, 0.0f);
        }
        const Span own = share(layout.panels, threads(), worker.mate);
        std::fill(space.bias_sums + own.first * PANEL, space.bias_sums + own.end * PANEL, 0.0f);
        if (p.steps == 0) {
            const int64_t size = depth_of_sums() * PANEL;
            std::fill(space.sums + own.first * size, space.sums + own.end * size, 0.0f);
        }
    }

    // da' of step s, and this member's part of W_hh^T da'.
    void step(int64_t s, const Chunk& chunk) {
        const int64_t count = rows.count(clock.rows(s)), going_on = std::min(count, rows.count(clock.rows(s + 1)));
        for (int64_t panel = panels.first; panel < panels.end; panel++) {
            for (int64_t j = 0; j < count; j++) {
                const int64_t row = rows.row(j);
                Vec dh = j < going_on ? from_later(s + 1, row, panel) : state_part(call.grad_h_n, row, panel);
                retreat(s, panel, row, dh, chunk);
            }
        }
        multiply(s, count, chunk);
        worker.meet_group();
        // What comes to rows that begin here goes on to their initial state.
        for (int64_t j = std::min(count, rows.count(clock.rows(s - 1))); j < count; j++) {
            for (int64_t panel = panels.first; panel < panels.end; panel++)
                store_state_part(call.grad_h_0, rows.row(j), panel, from_later(s, rows.row(j), panel));
        }
    }

    // The equations, for one row and one panel.
    SEQKIT_INLINE void retreat(int64_t s, int64_t panel, int64_t row, Vec dh, const Chunk& chunk) {
        const int64_t token = clock.token(s) + row, units = p.hidden - panel * V;
        const float* gate = gates + (panel * p.steps + token) * PANEL;
        const Vec i = load(gate), f = load(gate + V), g = load(gate + 2 * V), o = load(gate + 3 * V);
        if (grad_output) dh += load_part(grad_output + token * output_stride + panel * V, units);
        float* grad_cell = grad_cell_of(panel, row);
        const Vec tanh_c = divide(tanh(load(cells + (panel * p.steps + token) * V)));
        const Vec dc = load(grad_cell) + dh * o * (1.0f - tanh_c * tanh_c);
        store(grad_cell, dc * f);
        float* to = grad_gates_of(panel, token, chunk);
        store(to, dc * g * i * (1.0f - i));
        store(to + V, dc * cell_before(s, panel, row) * f * (1.0f - f));
        store(to + 2 * V, dc * i * (1.0f - g * g));
        store(to + 3 * V, dh * tanh_c * o * (1.0f - o));
    }

    Vec cell_before(int64_t s, int64_t panel, int64_t row) const {
        if (row >= clock.rows(s - 1)) return state_part(call.c_0, row, panel);
        return load(cells + (panel * p.steps + clock.token(s - 1) + row) * V);
    }

    // This member's part of W_hh^T da' for its group's rows: k runs over its own panels only.
    void multiply(int64_t s, int64_t count, const Chunk& chunk) {
        const int64_t row_stride = rows.groups * partial_stride, own = panels.end - panels.first;
        if (own == 0) return;
        for (int64_t strip = 0; strip < layout.hidden_strips; strip++) {
            const int width = strip_width(strip, p.hidden);
            const Span next = share(own, layout.hidden_strips, strip);
            for (int64_t panel = next.first; panel < next.end; panel++) prefetch_step(s - 1, panels.first + panel);
            const float* right = space.recurrent_weights + strip * depth() * STRIP + panels.first * PANEL * width * V;
            blocks_of_rows(count, [&](int64_t first, int64_t block) {
                const int64_t row = rows.row(first);
                const Left left = {grad_gates_of(panels.first, clock.token(s) + row, chunk), rows.groups * PANEL, PANEL,
                                   own, layout.chunk_tokens * PANEL};
                micro_kernels.of[block][width](left, right, width * V,
                                               partial_of(s, worker.member, row) + strip * STRIP, row_stride, false);
            });
        }
    }

    // What `retreat` will read of one panel. Saved by forward, it comes from memory or the third-level cache.
    void prefetch_step(int64_t s, int64_t panel) const {
        if (s < 0) return;
        for (int64_t j = 0; j < rows.count(clock.rows(s)); j++) {
            const int64_t at = panel * p.steps + clock.token(s) + rows.row(j);
            prefetch(gates + at * PANEL, PANEL);
            prefetch(cells + at * V, V);
            if (grad_output) prefetch(grad_output + (clock.token(s) + rows.row(j)) * output_stride + panel * V, V);
        }
    }

    // All members' parts of W_hh^T da'_s for one row and panel.
    Vec from_later(int64_t s, int64_t row, int64_t panel) const {
        Vec sum = load(partial_of(s, 0, row) + panel * V);
        for (int64_t member = 1; member < worker.plan.members; member++)
            sum += load(partial_of(s, member, row) + panel * V);
        return sum;
    }

    // The team's inputs and h_{t-1} of a chunk, so that their columns become rows of the left operand.
    void turn_left(const Chunk& chunk) {
        const Span blocks = share(layout.left_blocks, threads(), worker.mate);
        for (int64_t block = blocks.first; block < blocks.end; block++) {
            const Block b = left_block(block);
            float* to = space.left + b.k * layout.chunk_tokens;
            if (b.of_inputs) {
                gather(call.data + chunk.token * p.inputs + b.column, p.inputs, chunk.tokens, b.width, to);
                continue;
            }
            for (int64_t s = chunk.first; s < chunk.end; s++) {
                const int64_t count = clock.rows(s), going_on = std::min(count, clock.rows(s - 1));
                float* at = to + (clock.token(s) - chunk.token) * b.width;
                if (going_on)
                    gather(output + clock.token(s - 1) * output_stride + b.column, output_stride, going_on, b.width, at);
                gather(call.h_0 + (direction * p.rows + going_on) * p.hidden + b.column, p.hidden, count - going_on,
                       b.width, at + going_on * b.width);
            }
        }
    }

    // W_ih^T da' of a chunk's tokens, which are dealt to the team.
    void add_grad_data(const Chunk& chunk) {
        alignas(64) float tile[MR * STRIP];
        const Span tokens = share(chunk.tokens, threads(), worker.mate);
        for (int64_t strip = 0; strip < layout.input_strips; strip++) {
            const int width = strip_width(strip, p.inputs);
            const float* right = space.input_weights + strip * depth() * STRIP;
            blocks_of_rows(tokens.end - tokens.first, [&](int64_t first, int64_t block) {
                const int64_t token = chunk.token + tokens.first + first;
                const Left left = {grad_gates_of(0, token, chunk), PANEL, PANEL, layout.panels, layout.chunk_tokens * PANEL};
                micro_kernels.of[block][width](left, right, width * V, tile, STRIP, false);
                for (int64_t n = 0; n < block; n++) {
                    float* to = grad_data + (token + n) * p.inputs;
                    for (int64_t at = strip * STRIP, w = 0; w < width; w++, at += V) {
                        Vec sum = load(tile + n * STRIP + w * V);
                        if (adding) sum += load_part(to + at, p.inputs - at);
                        store_part(to + at, sum, p.inputs - at);
                    }
                }
            });
        }
    }

    // da' x^T, da' h^T and the sum of da' over a chunk's tokens, added to what other chunks gave. The blocks of the left
    // operand pass over one strip; an odd number of panels is dealt evenly by halves of these blocks. The sums are
    // fetched during the product and added at its end.
    void add_grad_weights(const Chunk& chunk, bool first_chunk) {
        const Span parts = share(2 * STRIPS * layout.panels, threads(), worker.mate);
        for (int64_t n = parts.first; n < parts.end; n++) {
            const int64_t panel = n / 2 / STRIPS, column = n / 2 % STRIPS * STRIP;
            const Span blocks = share(layout.left_blocks, 2, n % 2);
            const float* right = grad_gates_of(panel, chunk.token, chunk) + column;
            float* sums = space.sums + panel * depth_of_sums() * PANEL + column;
            for (int64_t first = 0; first < chunk.tokens; first += CHUNK) {
                const int64_t tokens = std::min(CHUNK, chunk.tokens - first);
                for (int64_t block = blocks.first; block < blocks.end; block++) {
                    const Block b = left_block(block);
                    for (int64_t m = 0; m < b.width; m++) prefetch_to_write(sums + (b.k + m) * PANEL, STRIP);
                    const Left left = {space.left + b.k * layout.chunk_tokens + first * b.width, 0, tokens};
                    micro_kernels_of_columns.of[b.width][NV](left, right + first * PANEL, PANEL, sums + b.k * PANEL,
                                                             PANEL, !first_chunk || first > 0);
                }
            }
            if (n % 2 == 0) add_grad_bias(right, chunk.tokens, space.bias_sums + panel * PANEL + column);
        }
    }

    // Of one chunk first: one running sum over all tokens would lose accuracy.
    static void add_grad_bias(const float* grad_gates, int64_t tokens, float* sums) {
        Vec sum[NV] = {};
        for (int64_t token = 0; token < tokens; token++)
            unroll<NV>([&](auto w) { sum[w] += load(grad_gates + token * PANEL + w * V); });
        unroll<NV>([&](auto w) { store(sums + w * V, load(sums + w * V) + sum[w]); });
    }

    void finish() {
        const Span all = share(layout.panels, threads(), worker.mate);
        for (int64_t panel = all.first; panel < all.end; panel++) {
            const float* sums = space.sums + panel * depth_of_sums() * PANEL;
            unpack_gradient(sums, p.hidden, p.inputs, panel, grad_weight(0));
            unpack_gradient(sums + p.inputs * PANEL, p.hidden, p.hidden, panel, grad_weight(1));
            for (int64_t gate = 0; gate < 4; gate++) {
                const Vec sum = load(space.bias_sums + panel * PANEL + gate * V);
                store_part(grad_weight(2) + gate * p.hidden + panel * V, sum, p.hidden - panel * V);
                store_part(grad_weight(3) + gate * p.hidden + panel * V, sum, p.hidden - panel * V);
            }
        }
        const int64_t with_steps = rows.count(p.time ? p.batch_sizes[0] : 0);
        for (int64_t panel = panels.first; panel < panels.end; panel++) {
            for (int64_t j = 0; j < rows.count(p.rows); j++) {
                const int64_t row = rows.row(j);
                store_state_part(call.grad_c_0, row, panel, load(grad_cell_of(panel, row)));
                // Without steps the final state is the initial one.
                if (j >= with_steps) store_state_part(call.grad_h_0, row, panel, state_part(call.grad_h_n, row, panel));
            }
        }
    }

    // MR (or, the last, fewer) columns of the inputs or of h.
    struct Block {
        bool of_inputs;
        int64_t column, width;
        int64_t k;  // its first row in the gradient of all weights
    };
    Block left_block(int64_t block) const {
        const bool of_inputs = block < layout.left_blocks_of_inputs;
        const int64_t column = (of_inputs ? block : block - layout.left_blocks_of_inputs) * MR;
        const int64_t width = std::min<int64_t>(MR, (of_inputs ? p.inputs : p.hidden) - column);
        return {of_inputs, column, width, of_inputs ? column : p.inputs + column};
    }

    int64_t threads() const { return worker.plan.team_threads(); }
    int64_t depth() const { return layout.panels * PANEL; }
    int64_t depth_of_sums() const { return p.inputs + p.hidden; }
    const float* weight(int64_t n) const { return call.weights[4 * direction + n]; }
    float* grad_weight(int64_t n) const { return call.grad_weights[4 * direction + n]; }
    // V units of a state (D, B, H), zeros where there is none.
    Vec state_part(const float* state, int64_t row, int64_t panel) const {
        if (!state) return Vec{};
        return load_part(state + (direction * p.rows + row) * p.hidden + panel * V, p.hidden - panel * V);
    }
    void store_state_part(float* state, int64_t row, int64_t panel, Vec part) const {
        store_part(state + (direction * p.rows + row) * p.hidden + panel * V, part, p.hidden - panel * V);
    }
    float* grad_cell_of(int64_t panel, int64_t row) const { return space.grad_cells + (panel * p.rows + row) * V; }
    float* grad_gates_of(int64_t panel, int64_t token, const Chunk& chunk) const {
        return space.grad_gates + (panel * layout.chunk_tokens + token - chunk.token) * PANEL;
    }
    float* partial_of(int64_t s, int64_t member, int64_t row) const {
        return space.partial + (((s & 1) * worker.plan.members + member) * p.rows + row) * partial_stride;
    }

    const Backward& call;
    const Problem& p;
    const Layout layout;
    const Worker& worker;
    const RowsOfGroup rows;
    const Span panels;
    const int64_t direction;
    const Clock clock;
    const BackwardSpace::Direction space;
    const int64_t output_stride;
    const float *const output, *const grad_output, *const gates, *const cells;
    const int64_t partial_stride;
    const bool adding;  // to the gradient that the first direction left
    float* const grad_data;
};

inline void backward(const Backward& call) {
    const Problem& p = call.problem;
    const BackwardSpace space(call, call.workspace);
    fill_offsets(p, space.offsets);
    run_workers(p, [&](const Worker& worker) {
        for (int64_t d = worker.team; d < p.directions; d += worker.plan.teams) {
            BackwardPass(call, space, worker, d).run();
            worker.meet_team();
        }
        if (worker.plan.teams == 2 && call.grad_data) {
            worker.meet_everyone();
            const Span part = share(p.steps * p.inputs, worker.count, worker.number);
            for (int64_t n = part.first; n < part.end; n++) call.grad_data[n] += space.second_grad_data[n];
        }
    });
}

}  // namespace seqkit
