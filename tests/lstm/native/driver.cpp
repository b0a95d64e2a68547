// The kernel's C interface over a grid of shapes, to be run under the compiler's sanitizers: every buffer is a block of
// the heap of exactly the size that api.h asks for, and full of NaNs before. Results are compared with an LSTM written
// here, number by number in double precision. Compile with -I seqkit/lstm/native/src.
#include "kernel.cpp"

#include <cmath>
#include <cstdio>
#include <limits>

namespace {

using Buffer = std::unique_ptr<float[]>;
using Doubles = std::vector<double>;

Buffer buffer(int64_t size) {
    Buffer made(new float[size]);
    std::fill_n(made.get(), size, std::numeric_limits<float>::quiet_NaN());
    return made;
}

uint64_t random_state = 1;
Buffer random_numbers(int64_t size, double scale) {
    Buffer made = buffer(size);
    for (int64_t n = 0; n < size; n++) {
        random_state = random_state * 6364136223846793005u + 1442695040888963407u;
        made[n] = static_cast<float>((static_cast<double>(random_state >> 40) / (1 << 23) - 1) * scale);
    }
    return made;
}

// A batch with its inputs, and the gradients that come to its results.
struct Case {
    Case(const std::vector<int64_t>& lengths, int64_t inputs, int64_t hidden, int64_t directions)
        : I(inputs), H(hidden), D(directions), B(static_cast<int64_t>(lengths.size())) {
        for (int64_t length : lengths) N += length, T = std::max(T, length);
        sizes = std::make_unique<int64_t[]>(T);
        for (int64_t t = 0; t < T; t++) {
            sizes[t] = std::count_if(lengths.begin(), lengths.end(), [t](int64_t length) { return length > t; });
        }
        data = random_numbers(N * I, 1);
        for (int64_t n = 0; n < 4 * D; n++) {
            weights.push_back(random_numbers(weight_size(n), 1 / std::sqrt(double(H))));
            weight_pointers.push_back(weights.back().get());
        }
        h_0 = random_numbers(states(), 1), c_0 = random_numbers(states(), 1);
        grad_output = random_numbers(N * D * H, 1);
        grad_h_n = random_numbers(states(), 1), grad_c_n = random_numbers(states(), 1);
    }

    int64_t states() const { return D * B * H; }
    int64_t weight_size(int64_t n) const { return 4 * H * (n % 4 == 0 ? I : n % 4 == 1 ? H : 1); }
    Problem problem(int64_t threads, int64_t groups) const { return {N, T, B, I, H, D, threads, groups, sizes.get()}; }

    int64_t I, H, D, B, N = 0, T = 0;
    std::unique_ptr<int64_t[]> sizes;
    Buffer data, h_0, c_0, grad_output, grad_h_n, grad_c_n;
    std::vector<Buffer> weights;
    std::vector<const float*> weight_pointers;
};

struct Results {
    Doubles output, h_n, c_n, grad_data, grad_h_0, grad_c_0;
    std::vector<Doubles> grad_weights;
};

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

// What one row leaves at one step for the way back.
struct Step {
    int64_t token, row;
    Doubles i, f, g, o, c, c_before, h_before;
};

// One direction, forward and then backward, one row and step after the other.
void run_direction(const Case& k, int64_t d, bool grads_of_output, bool grads_of_h_n, bool grads_of_c_n, Results& to) {
    const int64_t I = k.I, H = k.H;
    const float *w_ih = k.weights[4 * d].get(), *w_hh = k.weights[4 * d + 1].get();
    const float *b_ih = k.weights[4 * d + 2].get(), *b_hh = k.weights[4 * d + 3].get();
    Doubles h(k.h_0.get() + d * k.B * H, k.h_0.get() + (d + 1) * k.B * H);
    Doubles c(k.c_0.get() + d * k.B * H, k.c_0.get() + (d + 1) * k.B * H);
    std::vector<Step> steps;
    for (int64_t s = 0; s < k.T; s++) {
        const int64_t t = d == 0 ? s : k.T - 1 - s;
        int64_t token = 0;
        for (int64_t before = 0; before < t; before++) token += k.sizes[before];
        for (int64_t row = 0; row < k.sizes[t]; row++, token++) {
            Step step{token, row, Doubles(H), Doubles(H), Doubles(H), Doubles(H), Doubles(H), {}, {}};
            step.h_before.assign(h.begin() + row * H, h.begin() + (row + 1) * H);
            step.c_before.assign(c.begin() + row * H, c.begin() + (row + 1) * H);
            for (int64_t u = 0; u < H; u++) {
                double z[4];
                for (int64_t gate = 0; gate < 4; gate++) {
                    const int64_t n = gate * H + u;
                    z[gate] = double(b_ih[n]) + double(b_hh[n]);
                    for (int64_t j = 0; j < I; j++) z[gate] += double(w_ih[n * I + j]) * k.data[token * I + j];
                    for (int64_t j = 0; j < H; j++) z[gate] += double(w_hh[n * H + j]) * step.h_before[j];
                }
                step.i[u] = logistic(z[0]), step.f[u] = logistic(z[1]), step.g[u] = std::tanh(z[2]), step.o[u] = logistic(z[3]);
                step.c[u] = c[row * H + u] = step.f[u] * step.c_before[u] + step.i[u] * step.g[u];
                h[row * H + u] = step.o[u] * std::tanh(step.c[u]);
                to.output[(token * k.D + d) * H + u] = h[row * H + u];
            }
            steps.push_back(step);
        }
    }
    std::copy(h.begin(), h.end(), to.h_n.begin() + d * k.B * H);
    std::copy(c.begin(), c.end(), to.c_n.begin() + d * k.B * H);

    Doubles dh(k.B * H), dc(k.B * H);
    for (int64_t n = 0; n < k.B * H; n++) {
        dh[n] = grads_of_h_n ? k.grad_h_n[d * k.B * H + n] : 0;
        dc[n] = grads_of_c_n ? k.grad_c_n[d * k.B * H + n] : 0;
    }
    for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
        Doubles before(H);
        for (int64_t u = 0; u < H; u++) {
            const int64_t at = step->row * H + u;
            if (grads_of_output) dh[at] += k.grad_output[(step->token * k.D + d) * H + u];
            const double i = step->i[u], f = step->f[u], g = step->g[u], o = step->o[u], tanh_c = std::tanh(step->c[u]);
            dc[at] += dh[at] * o * (1 - tanh_c * tanh_c);
            const double da[4] = {dc[at] * g * i * (1 - i), dc[at] * step->c_before[u] * f * (1 - f),
                                  dc[at] * i * (1 - g * g), dh[at] * tanh_c * o * (1 - o)};
            dc[at] *= f;
            for (int64_t gate = 0; gate < 4; gate++) {
                const int64_t n = gate * H + u;
                for (int64_t j = 0; j < I; j++) {
                    to.grad_weights[4 * d][n * I + j] += da[gate] * k.data[step->token * I + j];
                    to.grad_data[step->token * I + j] += da[gate] * w_ih[n * I + j];
                }
                for (int64_t j = 0; j < H; j++) {
                    to.grad_weights[4 * d + 1][n * H + j] += da[gate] * step->h_before[j];
                    before[j] += da[gate] * w_hh[n * H + j];
                }
                to.grad_weights[4 * d + 2][n] += da[gate];
                to.grad_weights[4 * d + 3][n] += da[gate];
            }
        }
        std::copy(before.begin(), before.end(), dh.begin() + step->row * H);
    }
    std::copy(dh.begin(), dh.end(), to.grad_h_0.begin() + d * k.B * H);
    std::copy(dc.begin(), dc.end(), to.grad_c_0.begin() + d * k.B * H);
}

Results expected(const Case& k, bool grads_of_output, bool grads_of_h_n, bool grads_of_c_n) {
    Results to = {Doubles(k.N * k.D * k.H), Doubles(k.states()), Doubles(k.states()), Doubles(k.N * k.I),
                  Doubles(k.states()),      Doubles(k.states()), {}};
    for (int64_t n = 0; n < 4 * k.D; n++) to.grad_weights.emplace_back(k.weight_size(n));
    for (int64_t d = 0; d < k.D; d++) run_direction(k, d, grads_of_output, grads_of_h_n, grads_of_c_n, to);
    return to;
}

int failures = 0;

void check(bool right, const Case& k, const char* what) {
    if (right) return;
    failures++;
    std::printf("%s differs: N %d T %d B %d I %d H %d D %d\n", what, int(k.N), int(k.T), int(k.B), int(k.I), int(k.H), int(k.D));
}

void compare(const Buffer& got, const Doubles& wanted, const Case& k, const char* what) {
    double difference = 0, norm = 0;
    for (size_t n = 0; n < wanted.size(); n++) {
        difference += (got[n] - wanted[n]) * (got[n] - wanted[n]);
        norm += wanted[n] * wanted[n];
    }
    check(std::sqrt(difference) <= 2e-6 * (1 + std::sqrt(norm)), k, what);  // and not where it is a NaN
}

struct ForwardResults {
    Buffer output, h_n, c_n, gates, cells;
};

ForwardResults run_forward(const Case& k, const Problem& p, bool save, const float* packed) {
    Sizes sizes;
    seqkit_sizes(&p, &sizes);
    ForwardResults to = {buffer(k.N * k.D * k.H), buffer(k.states()), buffer(k.states()), nullptr, nullptr};
    if (save) to.gates = buffer(sizes.gates), to.cells = buffer(sizes.cells);
    const Buffer workspace = buffer(sizes.forward_workspace + (packed ? 0 : sizes.packed));
    const Forward call = {p, k.data.get(), k.weight_pointers.data(), packed, k.h_0.get(), k.c_0.get(), to.output.get(),
                          to.h_n.get(), to.c_n.get(), to.gates.get(), to.cells.get(), workspace.get()};
    seqkit_forward(&call);
    return to;
}

// `given` says, bit by bit, which of the three gradients come in.
void run_backward(const Case& k, const Problem& p, const ForwardResults& had, int given, bool wants_data,
                  const Results& wanted) {
    Sizes sizes;
    seqkit_sizes(&p, &sizes);
    const Buffer grad_data = wants_data ? buffer(k.N * k.I) : nullptr;
    const Buffer grad_h_0 = buffer(k.states()), grad_c_0 = buffer(k.states()), workspace = buffer(sizes.backward_workspace);
    std::vector<Buffer> grad_weights;
    std::vector<float*> pointers;
    for (int64_t n = 0; n < 4 * k.D; n++) {
        grad_weights.push_back(buffer(k.weight_size(n)));
        pointers.push_back(grad_weights.back().get());
    }
    const Backward call = {p, given & 1 ? k.grad_output.get() : nullptr, given & 2 ? k.grad_h_n.get() : nullptr,
                           given & 4 ? k.grad_c_n.get() : nullptr, k.data.get(), k.weight_pointers.data(), k.h_0.get(),
                           k.c_0.get(), had.output.get(), had.gates.get(), had.cells.get(), grad_data.get(),
                           pointers.data(), grad_h_0.get(), grad_c_0.get(), workspace.get()};
    seqkit_backward(&call);
    compare(had.output, wanted.output, k, "output");
    compare(had.h_n, wanted.h_n, k, "h_n");
    compare(had.c_n, wanted.c_n, k, "c_n");
    if (wants_data) compare(grad_data, wanted.grad_data, k, "grad_data");
    compare(grad_h_0, wanted.grad_h_0, k, "grad_h_0");
    compare(grad_c_0, wanted.grad_c_0, k, "grad_c_0");
    for (int64_t n = 0; n < 4 * k.D; n++) compare(grad_weights[n], wanted.grad_weights[n], k, "grad_weights");
}

bool same(const Buffer& one, const Buffer& other, int64_t size) {
    return std::memcmp(one.get(), other.get(), size * sizeof(float)) == 0;
}

// Packed ahead or not, saving or not: the same bits.
void check_inference(const Case& k, const Problem& p, const ForwardResults& trained) {
    Sizes sizes;
    seqkit_sizes(&p, &sizes);
    const Buffer packed = buffer(sizes.packed), again = buffer(sizes.packed);
    seqkit_pack(&p, k.weight_pointers.data(), packed.get());
    const Problem alone = k.problem(1, 0);
    seqkit_pack(&alone, k.weight_pointers.data(), again.get());
    check(same(packed, again, sizes.packed), k, "packed weights of several threads");
    for (const float* given : {static_cast<const float*>(packed.get()), static_cast<const float*>(nullptr)}) {
        const ForwardResults got = run_forward(k, p, false, given);
        check(same(got.output, trained.output, k.N * k.D * k.H), k, "output without saving");
        check(same(got.h_n, trained.h_n, k.states()) && same(got.c_n, trained.c_n, k.states()), k, "state without saving");
    }
}

void check_fingerprint(Case& k) {
    const Problem alone = k.problem(1, 0), several = k.problem(3, 0);
    const auto hash = [&](const Problem& p) { return seqkit_fingerprint(&p, k.weight_pointers.data()); };
    const uint64_t before = hash(alone);
    check(hash(several) == before, k, "fingerprint of several threads");
    for (int64_t n = 0; n < 4 * k.D; n++) {
        for (int64_t at = 0; at < k.weight_size(n); at += 1 + k.weight_size(n) / 50) {
            const float was = k.weights[n][at];
            k.weights[n][at] = std::nextafter(was, 2.0f);
            check(hash(alone) != before, k, "fingerprint of other weights");
            k.weights[n][at] = was;
        }
    }
    check(hash(alone) == before, k, "fingerprint of the same weights");
}

}  // namespace

int main() {
    // Lengths longest first, inputs, hidden: 1s, rows without steps, panels and tiles that are not full, more rows than a
    // chunk has tokens, several chunks.
    const struct {
        std::vector<int64_t> lengths;
        int64_t inputs, hidden;
    } shapes[] = {{{1}, 1, 1},
                  {{}, 2, 3},
                  {{0, 0}, 3, 5},
                  {{6, 4, 4, 1, 0}, 7, 3},
                  {{5, 5, 5, 5, 5, 5, 5, 2}, 4, 17},
                  {{3, 2}, 17, 33},
                  {{130, 128, 2, 0}, 3, 6},
                  {std::vector<int64_t>(205, 2), 2, 5}};
    int calls = 0;
    for (const auto& shape : shapes) {
        for (int64_t directions = 1; directions <= 2; directions++) {
            Case k(shape.lengths, shape.inputs, shape.hidden, directions);
            check_fingerprint(k);
            Results wanted[8];  // by which gradients come in
            for (int given = 0; given < 8; given++) wanted[given] = expected(k, given & 1, given & 2, given & 4);
            for (int64_t threads = 1; threads <= 4; threads++) {
                for (int64_t groups = 0; groups <= 4; groups++) {
                    if (groups > threads) continue;
                    const Problem p = k.problem(threads, groups);
                    const ForwardResults had = run_forward(k, p, true, nullptr);
                    run_backward(k, p, had, calls % 8, calls % 3 != 0, wanted[calls % 8]);
                    check_inference(k, p, had);
                    calls++;
                }
            }
        }
    }
    std::printf("%s: %d problems, %d failures\n", seqkit_instruction_set(), calls, failures);
    return failures == 0 ? 0 : 1;
}
