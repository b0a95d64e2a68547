// What follows from da' of a chunk for the inputs and the weights:
//
//     dx_t = W_ih^T da'_t       dW_ih += da'_t x_t^T       dW_hh += da'_t h_{t-1}^T       db += da'_t
//
// Both are products over many tokens at once, four of the six of training, and run near the peak. Their work is dealt
// to the whole team, whoever computed da'.
#pragma once

#include "backward_part.h"

namespace seqkit {

class Gradients {
  public:
    explicit Gradients(const BackwardPart& part)
        : part(part), p(part.p), layout(part.layout), threads(part.threads()), mate(part.worker.mate) {}

    // The team's weights, and sums for the case that there are no chunks.
    void start() {
        const Span strips = share(part.grad_data ? layout.input_strips : 0, threads, mate);
        for (int64_t strip = strips.first; strip < strips.end; strip++) {
            float* to = part.space.input_weights + strip * part.depth() * STRIP;
            pack_backward(part.weight(0), p.hidden, p.inputs, strip, to);
        }
        const Span own = share(layout.panels, threads, mate);
        std::fill(part.space.bias_sums + own.first * PANEL, part.space.bias_sums + own.end * PANEL, 0.0f);
        if (p.steps == 0) std::fill(sums_of(own.first), sums_of(own.end), 0.0f);
    }

    // The team's inputs and h_{t-1} of a chunk, so that their columns become rows of the left operand.
    void turn_left(const Chunk& chunk) {
        const Span blocks = share(layout.left_blocks, threads, mate);
        for (int64_t n = blocks.first; n < blocks.end; n++) {
            const Block block = left_block(n);
            if (!block.of_inputs) {
                turn_h(block, chunk);
                continue;
            }
            gather(part.call.data + chunk.token * p.inputs + block.column, p.inputs, chunk.tokens, block.width,
                   left_of(block));
        }
    }

    // To be called when the whole team has left da' and turned the left operand.
    void add(const Chunk& chunk, bool first_chunk) {
        if (part.grad_data) add_to_data(chunk);
        add_to_weights(chunk, first_chunk);
    }

    void finish() {
        const Span own = share(layout.panels, threads, mate);
        for (int64_t panel = own.first; panel < own.end; panel++) {
            unpack_gradient(sums_of(panel), p.hidden, p.inputs, panel, part.grad_weight(0));
            unpack_gradient(sums_of(panel) + p.inputs * PANEL, p.hidden, p.hidden, panel, part.grad_weight(1));
            for (int64_t gate = 0; gate < 4; gate++) {
                const Vec sum = load(part.space.bias_sums + panel * PANEL + gate * V);
                const int64_t at = gate * p.hidden + panel * V, units = p.hidden - panel * V;
                store_part(part.grad_weight(2) + at, sum, units);
                store_part(part.grad_weight(3) + at, sum, units);
            }
        }
    }

  private:
    // MR (or, the last, fewer) columns of the inputs or of h.
    struct Block {
        bool of_inputs;
        int64_t column, width;
        int64_t k;  // its first row in the gradient of both weights, the one of the inputs first
    };
    Block left_block(int64_t n) const {
        const bool of_inputs = n < layout.left_blocks_of_inputs;
        const int64_t column = (of_inputs ? n : n - layout.left_blocks_of_inputs) * MR;
        const int64_t width = std::min<int64_t>(MR, (of_inputs ? p.inputs : p.hidden) - column);
        return {of_inputs, column, width, of_inputs ? column : p.inputs + column};
    }

    void turn_h(const Block& block, const Chunk& chunk) {
        const Clock& clock = part.clock;
        for (int64_t s = chunk.first; s < chunk.end; s++) {
            const int64_t count = clock.rows(s), going_on = std::min(count, clock.rows(s - 1));
            float* to = left_of(block) + (clock.token(s) - chunk.token) * block.width;
            if (going_on) {
                const float* before = part.output + clock.token(s - 1) * part.output_stride + block.column;
                gather(before, part.output_stride, going_on, block.width, to);
            }
            const float* initial = part.call.h_0 + (part.direction * p.rows + going_on) * p.hidden + block.column;
            gather(initial, p.hidden, count - going_on, block.width, to + going_on * block.width);
        }
    }

    void add_to_data(const Chunk& chunk) {
        alignas(64) float tile[MR * STRIP];
        const Span tokens = share(chunk.tokens, threads, mate);
        for (int64_t strip = 0; strip < layout.input_strips; strip++) {
            const int width = strip_width(strip, p.inputs);
            const float* right = part.space.input_weights + strip * part.depth() * STRIP;
            blocks_of_rows(tokens.end - tokens.first, [&](int64_t first, int64_t block) {
                const int64_t token = chunk.token + tokens.first + first;
                const Left left = {part.grad_gates_of(0, token, chunk), PANEL, PANEL, layout.panels,
                                   layout.chunk_tokens * PANEL};
                micro_kernels.of[block][width](left, right, width * V, tile, STRIP, false);
                for (int64_t n = 0; n < block; n++) {
                    float* to = part.grad_data + (token + n) * p.inputs;
                    for (int64_t at = strip * STRIP, w = 0; w < width; w++, at += V) {
                        Vec sum = load(tile + n * STRIP + w * V);
                        if (part.adding) sum += load_part(to + at, p.inputs - at);
                        store_part(to + at, sum, p.inputs - at);
                    }
                }
            });
        }
    }

    // The blocks of the left operand pass over one strip of da' at a time. An odd number of panels is dealt evenly by
    // halves of these blocks. The sums are fetched during the product and added at its end.
    void add_to_weights(const Chunk& chunk, bool first_chunk) {
        const Span parts = share(2 * STRIPS * layout.panels, threads, mate);
        for (int64_t n = parts.first; n < parts.end; n++) {
            const int64_t panel = n / 2 / STRIPS, column = n / 2 % STRIPS * STRIP;
            const Span blocks = share(layout.left_blocks, 2, n % 2);
            const float* right = part.grad_gates_of(panel, chunk.token, chunk) + column;
            for (int64_t first = 0; first < chunk.tokens; first += CHUNK) {
                const int64_t tokens = std::min(CHUNK, chunk.tokens - first);
                for (int64_t m = blocks.first; m < blocks.end; m++) {
                    const Block block = left_block(m);
                    float* sums = sums_of(panel) + block.k * PANEL + column;
                    for (int64_t k = 0; k < block.width; k++) prefetch_to_write(sums + k * PANEL, STRIP);
                    const Left left = {left_of(block) + first * block.width, 0, tokens};
                    micro_kernels_of_columns.of[block.width][NV](left, right + first * PANEL, PANEL, sums, PANEL,
                                                                 !first_chunk || first > 0);
                }
            }
            if (n % 2 == 0) add_to_bias(right, chunk.tokens, part.space.bias_sums + panel * PANEL + column);
        }
    }

    // Of one chunk first: one running sum over all tokens would lose accuracy.
    static void add_to_bias(const float* grad_gates, int64_t tokens, float* sums) {
        Vec sum[NV] = {};
        for (int64_t token = 0; token < tokens; token++)
            unroll<NV>([&](auto w) { sum[w] += load(grad_gates + token * PANEL + w * V); });
        unroll<NV>([&](auto w) { store(sums + w * V, load(sums + w * V) + sum[w]); });
    }

    float* sums_of(int64_t panel) const { return part.space.sums + panel * (p.inputs + p.hidden) * PANEL; }
    float* left_of(const Block& block) const { return part.space.left + block.k * layout.chunk_tokens; }

    const BackwardPart& part;
    const Problem& p;
    const Layout& layout;
    const int64_t threads, mate;
};

}  // namespace seqkit
