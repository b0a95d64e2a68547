// The recurrence backward, step by step. With a' for what enters a gate's nonlinearity:
//
//     dh_t = dY_t + W_hh^T da'_{t+1}          dC_t = dC_{t+1} f_{t+1} + dh_t o (1 - tanh(C_t)^2)
//     di' = dC_t g i (1 - i)                  df' = dC_t C_{t-1} f (1 - f)
//     dg' = dC_t i (1 - g^2)                  do' = dh_t tanh(C_t) o (1 - o)
//
// W_hh^T da' sums over all gates, of which a thread has those of its panels. Each member of a group multiplies its own
// ones and leaves the partial sums, H numbers a row, to the others: a quarter of what it would have to read of their
// da' (4H numbers a row), and da' comes hot from its own cache. tanh(C_t) is computed again, so that it need not be
// kept.
#pragma once

#include "activations.h"
#include "backward_part.h"

namespace seqkit {

class BackwardRecurrence {
  public:
    explicit BackwardRecurrence(const BackwardPart& part)
        : part(part), p(part.p), layout(part.layout), clock(part.clock), rows(part.worker.rows()),
          panels(part.worker.panels(layout)), partial_stride(layout.hidden_strips * STRIP) {}

    // The team's weights, and this thread's dC and partial sums.
    void start() {
        const Span strips = share(layout.hidden_strips, part.threads(), part.worker.mate);
        for (int64_t strip = strips.first; strip < strips.end; strip++) {
            float* to = part.space.recurrent_weights + strip * part.depth() * STRIP;
            pack_backward(part.weight(1), p.hidden, p.hidden, strip, to);
        }
        for (int64_t j = 0; j < rows.count(p.rows); j++) {
            for (int64_t panel = panels.first; panel < panels.end; panel++)
                store(grad_cell_of(panel, rows.row(j)), part.state_part(part.call.grad_c_n, rows.row(j), panel));
        }
        if (panels.first == panels.end) {  // more members than panels: this one's partial sums stay zeros
            for (int64_t parity = 0; parity < 2; parity++) {
                for (int64_t j = 0; j < rows.count(p.rows); j++)
                    std::fill_n(partial_of(parity, part.worker.member, rows.row(j)), partial_stride, 0.0f);
            }
        }
    }

    // da' of step s, and this member's part of W_hh^T da'.
    void step(int64_t s, const Chunk& chunk) {
        const int64_t count = rows.count(clock.rows(s));
        const int64_t going_on = std::min(count, rows.count(clock.rows(s + 1)));
        for (int64_t panel = panels.first; panel < panels.end; panel++) {
            for (int64_t j = 0; j < count; j++) {
                const int64_t row = rows.row(j);
                if (j + AHEAD < count) {
                    prefetch_row(s, panel, rows.row(j + AHEAD));
                } else if (panel + 1 < panels.end) {
                    prefetch_row(s, panel + 1, rows.row(std::min(j + AHEAD - count, count - 1)));
                }
                const Vec dh = j < going_on ? from_later(s + 1, row, panel)
                                            : part.state_part(part.call.grad_h_n, row, panel);
                retreat(s, panel, row, dh, chunk);
            }
        }
        multiply(s, count, chunk);
        part.worker.meet_group();
        // What comes to rows that begin here goes on to their initial state.
        for (int64_t j = std::min(count, rows.count(clock.rows(s - 1))); j < count; j++) {
            for (int64_t panel = panels.first; panel < panels.end; panel++)
                part.store_state_part(part.call.grad_h_0, rows.row(j), panel, from_later(s, rows.row(j), panel));
        }
    }

    // dC has arrived at the initial cells. Without steps the final state is the initial one.
    void finish() {
        const int64_t with_steps = rows.count(p.time ? p.batch_sizes[0] : 0);
        for (int64_t panel = panels.first; panel < panels.end; panel++) {
            for (int64_t j = 0; j < rows.count(p.rows); j++) {
                const int64_t row = rows.row(j);
                part.store_state_part(part.call.grad_c_0, row, panel, load(grad_cell_of(panel, row)));
                if (j < with_steps) continue;
                part.store_state_part(part.call.grad_h_0, row, panel, part.state_part(part.call.grad_h_n, row, panel));
            }
        }
    }

  private:
    // What forward saved comes from memory or the third-level cache: waiting for it is most of the time of `retreat`.
    // Asking for it so many rows ahead makes backward 4 % faster at H = 512.
    static constexpr int64_t AHEAD = 16;
    void prefetch_row(int64_t s, int64_t panel, int64_t row) const {
        const int64_t at = panel * p.steps + clock.token(s) + row;
        prefetch(part.gates + at * PANEL, PANEL);
        prefetch(part.cells + at * V, V);
        if (row < clock.rows(s - 1)) prefetch(part.cells + (panel * p.steps + clock.token(s - 1) + row) * V, V);
    }

    // The equations, for one row and one panel.
    SEQKIT_INLINE void retreat(int64_t s, int64_t panel, int64_t row, Vec dh, const Chunk& chunk) {
        const int64_t token = clock.token(s) + row, units = p.hidden - panel * V;
        const float* gate = part.gates + (panel * p.steps + token) * PANEL;
        const Vec i = load(gate), f = load(gate + V), g = load(gate + 2 * V), o = load(gate + 3 * V);
        if (part.grad_output) dh += load_part(part.grad_output + token * part.output_stride + panel * V, units);
        float* grad_cell = grad_cell_of(panel, row);
        const Vec tanh_c = divide(tanh(load(part.cells + (panel * p.steps + token) * V)));
        const Vec dc = load(grad_cell) + dh * o * (1.0f - tanh_c * tanh_c);
        store(grad_cell, dc * f);
        // Units from H on are zeros times whatever the inputs are, which is not zero if these are infinite; here, where
        // real units would begin to read them, they are zeros again.
        float* to = part.grad_gates_of(panel, token, chunk);
        store(to, first_lanes(dc * g * i * (1.0f - i), units));
        store(to + V, first_lanes(dc * cell_before(s, panel, row) * f * (1.0f - f), units));
        store(to + 2 * V, first_lanes(dc * i * (1.0f - g * g), units));
        store(to + 3 * V, first_lanes(dh * tanh_c * o * (1.0f - o), units));
    }

    Vec cell_before(int64_t s, int64_t panel, int64_t row) const {
        if (row >= clock.rows(s - 1)) return part.state_part(part.call.c_0, row, panel);
        return load(part.cells + (panel * p.steps + clock.token(s - 1) + row) * V);
    }

    // This member's part of W_hh^T da' for its group's rows: k runs over its own panels only.
    void multiply(int64_t s, int64_t count, const Chunk& chunk) {
        const int64_t own = panels.end - panels.first, member = part.worker.member;
        if (own == 0) return;
        for (int64_t strip = 0; strip < layout.hidden_strips; strip++) {
            const int width = strip_width(strip, p.hidden);
            const float* right = part.space.recurrent_weights + strip * part.depth() * STRIP;
            right += panels.first * PANEL * width * V;
            blocks_of_rows(count, [&](int64_t first, int64_t block) {
                const int64_t row = rows.row(first);
                const float* at = part.grad_gates_of(panels.first, clock.token(s) + row, chunk);
                const Left left = {at, rows.groups * PANEL, PANEL, own, layout.chunk_tokens * PANEL};
                float* to = partial_of(s, member, row) + strip * STRIP;
                micro_kernels.of[block][width](left, right, width * V, to, rows.groups * partial_stride, false);
            });
        }
    }

    // All members' parts of W_hh^T da'_s for one row and panel.
    Vec from_later(int64_t s, int64_t row, int64_t panel) const {
        Vec sum = load(partial_of(s, 0, row) + panel * V);
        for (int64_t member = 1; member < part.worker.plan.members; member++)
            sum += load(partial_of(s, member, row) + panel * V);
        return sum;
    }

    float* grad_cell_of(int64_t panel, int64_t row) const {
        return part.space.grad_cells + (panel * p.rows + row) * V;
    }
    // Of steps in turn: one is written while a slower member may still read the other.
    float* partial_of(int64_t s, int64_t member, int64_t row) const {
        return part.space.partial + (((s & 1) * part.worker.plan.members + member) * p.rows + row) * partial_stride;
    }

    const BackwardPart& part;
    const Problem& p;
    const Layout& layout;
    const Clock& clock;
    const RowsOfGroup rows;
    const Span panels;
    const int64_t partial_stride;
};

}  // namespace seqkit
