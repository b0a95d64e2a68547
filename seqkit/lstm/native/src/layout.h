// How data lie in memory, how time runs in each direction, and who computes what.
//
// A *panel* is V hidden units with their four gates: 4V columns in the order i, f, g, o (V each). P panels hold H
// units; units from H on are zeros throughout. Because a panel has all four gates of its units, the gates are computed
// from one tile in cache, and the gates' gradients come out as the left operand of the products that follow. A *strip*
// is what the micro-kernel computes at a time, NV vectors: a whole panel with 32 registers, half of one (i f, or g o)
// with 16.
//
//     weights, forward      [panel][strip][k][NV V]      right operand; k runs over I or H
//     weights, backward     [columns / (NV V)][k][NV V]  right operand; k runs over panels, gates, units
//     gates                 [panel][token][4V]           after their nonlinearities
//     cells                 [panel][token][V]            C_t
//     gates' gradients      [panel][token][4V]           of one chunk; left and right operand
//     h of two steps        [parity][row][h_stride]      left operand
//     gradient of weights   [panel][k][4V]               k runs over I, then H
//     inputs and h, turned  [columns / MR][token][MR]    left operand of the weights' gradient, of one chunk
//
// A *token* is a row of the packed batch, a *row* is one of the B of the state. A *chunk* is a run of whole time steps
// with about CHUNK tokens: projection, recurrence and gradients go through the batch chunk by chunk, so that what one
// leaves for the next is still in cache.
#pragma once

#include <algorithm>

#include "api.h"
#include "vectors.h"

namespace seqkit {

// At 512 units 96 tokens make backward a tenth slower (sums pass through the cache more often), 384 change nothing.
constexpr int64_t CHUNK = 192;
constexpr int64_t PANEL = 4 * V, STRIP = NV * V, STRIPS = PANEL / STRIP;

inline int64_t ceil_div(int64_t n, int64_t d) { return (n + d - 1) / d; }

// Sizes that follow from the problem's.
struct Layout {
    explicit Layout(const Problem& p)
        : panels(ceil_div(p.hidden, V)),
          hidden_strips(ceil_div(p.hidden, STRIP)),
          input_strips(ceil_div(p.inputs, STRIP)),
          // A row more than needed: rows a power of 2 apart would share a few sets of the first-level cache.
          h_stride(panels * V + 16),
          chunk_tokens(std::min(p.steps, std::max(CHUNK, p.rows))),
          left_blocks_of_inputs(ceil_div(p.inputs, MR)),
          left_blocks(left_blocks_of_inputs + ceil_div(p.hidden, MR)) {}

    int64_t panels;                 // P
    int64_t hidden_strips;          // strips that hold H columns
    int64_t input_strips;           // likewise I
    int64_t h_stride;
    int64_t chunk_tokens;           // at most so many in a chunk
    int64_t left_blocks_of_inputs;  // blocks of MR columns of the inputs,
    int64_t left_blocks;            // and of inputs and h together
};

// Vectors of a strip that hold columns at all; in the last strip these are all that it has.
inline int strip_width(int64_t strip, int64_t columns) {
    return static_cast<int>(std::min<int64_t>(NV, ceil_div(columns - strip * STRIP, V)));
}

// The weights of one direction as the right operand of the forward products.
struct Packed {
    Packed(const Problem& p, float* memory) {
        const Layout layout(p);
        input = memory;
        recurrent = input + layout.panels * p.inputs * PANEL;
        bias = recurrent + layout.panels * p.hidden * PANEL;
    }
    static int64_t size(const Problem& p) { return ceil_div(p.hidden, V) * (p.inputs + p.hidden + 1) * PANEL; }

    float* input;      // [panel][strip][I][NV V]
    float* recurrent;  // [panel][strip][H][NV V]
    float* bias;       // [panel][4V], both biases added
};

// Hands out pieces of a workspace, each at the start of a cache line; without memory it only counts.
class Arena {
  public:
    explicit Arena(float* memory)
        : start(memory ? reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(memory) + 63) / 64 * 64) : nullptr) {}
    float* take(int64_t floats) {
        float* taken = start ? start + used : nullptr;
        used += ceil_div(floats, 16) * 16;
        return taken;
    }
    int64_t size() const { return used + 16; }

  private:
    float* start;
    int64_t used = 0;
};

// The steps of one direction in the order in which it reads them: s = 0 is its first. Reading from the end, rows of
// shorter sequences join later, each at its own last step; nothing is moved for that.
struct Clock {
    Clock(const Problem& p, const int64_t* offsets, bool reverse)
        : sizes(p.batch_sizes), offsets(offsets), time(p.time), reverse(reverse) {}

    int64_t at(int64_t s) const { return reverse ? time - 1 - s : s; }
    int64_t rows(int64_t s) const { return s < 0 || s >= time ? 0 : sizes[at(s)]; }
    int64_t token(int64_t s) const { return offsets[at(s)]; }  // of row 0

    const int64_t* sizes;    // (T,)
    const int64_t* offsets;  // (T,) the first token of each step
    int64_t time;
    bool reverse;
};

struct Chunk {
    int64_t first, end;   // steps in reading order
    int64_t token;        // the first of its tokens, which stand side by side
    int64_t tokens;
};

// The chunk that begins at step s and goes on forward, or that ends before step s.
inline Chunk chunk_from(const Clock& clock, int64_t s) {
    int64_t end = s, tokens = 0;
    while (end < clock.time && (tokens == 0 || tokens + clock.rows(end) <= CHUNK)) tokens += clock.rows(end++);
    return {s, end, clock.token(clock.reverse ? end - 1 : s), tokens};
}
inline Chunk chunk_before(const Clock& clock, int64_t end) {
    int64_t s = end, tokens = 0;
    while (s > 0 && (tokens == 0 || tokens + clock.rows(s - 1) <= CHUNK)) tokens += clock.rows(--s);
    return {s, end, clock.token(clock.reverse ? end - 1 : s), tokens};
}

// ---- who computes what: decided by shape and number of threads, never by load, so that results repeat bit by bit ----

struct Span {
    int64_t first, end;
};

// The part of 0 .. total that the `part`-th of `parts` threads has.
inline Span share(int64_t total, int64_t parts, int64_t part) {
    return {total * part / parts, total * (part + 1) / parts};
}

// The threads of a call: `teams` of them work on directions at the same time, or one team on one after the other. In
// the recurrence the rows are dealt to the `groups` of a team, and the panels to the `members` of a group.
struct Plan {
    int64_t teams, groups, members;

    int64_t team_threads() const { return groups * members; }
};

// Estimated cycles of one step of the recurrence with this plan. The constants are rough ones, for a Zen 5 core.
inline double step_cost(const Problem& p, const Plan& plan) {
    const double second_level = 512 * 1024;  // bytes of weights that stay in a core's own cache
    const double rows = std::max(1.0, double(p.steps) / double(std::max<int64_t>(1, p.time)) / double(plan.groups));
    const int64_t panels = ceil_div(ceil_div(p.hidden, V), plan.members);
    const double bytes = double(panels) * double(p.hidden) * PANEL * sizeof(float);
    const double arithmetic = double(panels) * 2 * double(p.hidden) * rows;
    const double traffic = bytes <= second_level ? bytes / 40 : bytes / 16;
    const double waiting = plan.members > 1 ? 1500 + 200 * double(plan.members) : 0;
    const double turns = double(p.directions) / double(plan.teams);
    return turns * (std::max(arithmetic, traffic) + 0.25 * std::min(arithmetic, traffic) + waiting);
}

// How to use `threads` threads. Groups of rows need not wait for each other at every step, so they hardly mind when
// another program takes a core; but each group reads all weights. Members of a group read a part of them
// and wait for each other at every step.
inline Plan choose_plan(const Problem& p, int64_t threads) {
    const int64_t teams = p.directions == 2 && threads % 2 == 0 ? 2 : 1, team = threads / teams;
    Plan best = {teams, 1, team};
    for (int64_t groups = 1; groups <= team; groups++) {
        const Plan plan = {teams, groups, team / groups};
        if (team % groups != 0) continue;
        if (groups == p.row_groups) return plan;
        if (p.row_groups == 0 && step_cost(p, plan) < step_cost(p, best)) best = plan;
    }
    return best;
}

// Threads that pay: starting a region costs as much as some 20,000 cycles, waiting more than it wins on small steps.
inline int64_t useful_threads(const Problem& p) {
    if (p.threads <= 1 || p.row_groups != 0) return std::max<int64_t>(1, p.threads);
    const auto cost = [&](int64_t threads) {
        const double projection = double(p.steps) * double(ceil_div(p.hidden, V)) * 2 * double(p.inputs);
        return double(p.time) * step_cost(p, choose_plan(p, threads)) + projection / double(threads);
    };
    return cost(p.threads) + 20000 < cost(1) ? p.threads : 1;
}

// The rows of one group: `group`, `group` + `groups`, ... Dealt in turn, because rows stand longest first.
struct RowsOfGroup {
    int64_t group, groups;

    int64_t count(int64_t rows) const { return rows > group ? (rows - group + groups - 1) / groups : 0; }
    int64_t row(int64_t j) const { return group + groups * j; }
};

}  // namespace seqkit
