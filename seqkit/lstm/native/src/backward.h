// The layer backward through time: chunk by chunk from the last step, the recurrence of a chunk and then what follows
// from it for the inputs and the weights, while that is still in cache.
#pragma once

#include "backward_recurrence.h"
#include "gradients.h"

namespace seqkit {

inline void go_backward(const BackwardPart& part) {
    BackwardRecurrence recurrence(part);
    Gradients gradients(part);
    recurrence.start();
    gradients.start();
    part.worker.meet_team();
    for (int64_t end = part.p.time; end > 0;) {
        const Chunk chunk = chunk_before(part.clock, end);
        for (int64_t s = chunk.end - 1; s >= chunk.first; s--) recurrence.step(s, chunk);
        gradients.turn_left(chunk);
        part.worker.meet_team();
        gradients.add(chunk, end == part.p.time);
        part.worker.meet_team();  // before the next chunk's da' take the place of this one's
        end = chunk.first;
    }
    recurrence.finish();
    gradients.finish();
}

inline void backward(const Backward& call) {
    const Problem& p = call.problem;
    const BackwardSpace space(call, call.workspace);
    fill_offsets(p, space.offsets);
    run_workers(p, [&](const Worker& worker) {
        for (int64_t d = worker.team; d < p.directions; d += worker.plan.teams) {
            go_backward(BackwardPart(call, space, worker, d));
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
