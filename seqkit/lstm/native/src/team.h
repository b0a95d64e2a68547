// The threads of one call, and what each of them is: which team, group and member (Plan in layout.h).
#pragma once

#include "layout.h"
#include "threads.h"

namespace seqkit {

struct Worker {
    Plan plan;
    int64_t number, count;  // of the call's threads
    int64_t team;           // which directions: team, team + teams, ...
    int64_t mate;           // number within the team
    int64_t group, member;
    Barrier *everyone, *whole_team, *own_group;

    RowsOfGroup rows() const { return {group, plan.groups}; }
    Span panels(const Layout& layout) const { return share(layout.panels, plan.members, member); }
    void meet_everyone() const { everyone->wait(count); }
    void meet_team() const { whole_team->wait(plan.team_threads()); }
    void meet_group() const { own_group->wait(plan.members); }
};

// work(worker) on as many threads as pay and can be had.
template <class Work>
void run_workers(const Problem& p, Work&& work) {
    const int64_t threads = useful_threads(p);
    std::vector<Barrier> barriers(threads + 3);
    run_region(threads, [&](int64_t number, int64_t count) {
        const Plan plan = choose_plan(p, count);
        const int64_t mates = plan.team_threads(), team = number / mates, mate = number % mates;
        const int64_t group = mate / plan.members;
        work(Worker{plan, number, count, team, mate, group, mate % plan.members, &barriers[0], &barriers[1 + team],
                    &barriers[3 + team * plan.groups + group]});
    });
}

// The first token of each step.
inline void fill_offsets(const Problem& p, int64_t* offsets) {
    for (int64_t t = 0, token = 0; t < p.time; token += p.batch_sizes[t++]) offsets[t] = token;
}

}  // namespace seqkit
