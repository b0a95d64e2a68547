// What one thread needs to know to go backward through one direction: the call's memory and where things lie in it.
#pragma once

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
struct BackwardPart {
    BackwardPart(const Backward& call, const BackwardSpace& all, const Worker& worker, int64_t direction)
        : call(call),
          p(call.problem),
          worker(worker),
          layout(p),
          direction(direction),
          clock(p, all.offsets, direction == 1),
          space(all.of[direction]),
          output_stride(p.directions * p.hidden),
          output(call.output + direction * p.hidden),
          grad_output(call.grad_output ? call.grad_output + direction * p.hidden : nullptr),
          gates(call.gates + direction * layout.panels * p.steps * PANEL),
          cells(call.cells + direction * layout.panels * p.steps * V),
          adding(direction == 1 && worker.plan.teams == 1),
          grad_data(call.grad_data && direction == 1 && !adding ? all.second_grad_data : call.grad_data) {}

    int64_t threads() const { return worker.plan.team_threads(); }
    // The numbers of all gates, by which W^T is multiplied.
    int64_t depth() const { return layout.panels * PANEL; }
    const float* weight(int64_t n) const { return call.weights[4 * direction + n]; }
    float* grad_weight(int64_t n) const { return call.grad_weights[4 * direction + n]; }
    float* grad_gates_of(int64_t panel, int64_t token, const Chunk& chunk) const {
        return space.grad_gates + (panel * layout.chunk_tokens + token - chunk.token) * PANEL;
    }
    // V units of a state (D, B, H), zeros where there is none.
    Vec state_part(const float* state, int64_t row, int64_t panel) const {
        if (!state) return Vec{};
        return load_part(state + (direction * p.rows + row) * p.hidden + panel * V, p.hidden - panel * V);
    }
    void store_state_part(float* state, int64_t row, int64_t panel, Vec part) const {
        store_part(state + (direction * p.rows + row) * p.hidden + panel * V, part, p.hidden - panel * V);
    }

    const Backward& call;
    const Problem& p;
    const Worker& worker;
    const Layout layout;
    const int64_t direction;
    const Clock clock;
    const BackwardSpace::Direction space;
    const int64_t output_stride;
    const float *const output, *const grad_output, *const gates, *const cells;  // this direction's
    const bool adding;                                                         // to the first direction's grad_data
    float* const grad_data;
};

}  // namespace seqkit
