#include "engine/plan/cost_model.h"

namespace mneme::plan {

std::vector<Arithmetic> GuessedArithmetic() { return {{1, 100e9, 100e9}}; }

CostModel CostOf(const Cluster& cluster) {
  const Speed speed = SpeedOf(cluster);
  const Link& inner = cluster.axes.back().link;
  CostModel cost;
  cost.bytes_per_second = speed.bytes_per_second;
  cost.row_seconds = speed.row_seconds;
  cost.arithmetic = speed.arithmetic;
  cost.exchange_seconds = inner.seconds;
  cost.exchange_seconds_per_rank = inner.seconds_per_rank;
  cost.exchange_bytes_per_second = inner.bytes_per_second;
  if (cluster.axes.size() > 1) cost.outer = cluster.axes[0].link;
  cost.shared_memory = cluster.shared_memory;
  cost.memory_bytes = cluster.memory[0].bytes;
  return cost;
}

double ArithmeticSeconds(const CostModel& cost, bool bf16, double rows, double weights) {
  const auto flops = [&](const Arithmetic& a) { return bf16 ? a.bf16_flops : a.f32_flops; };
  const auto seconds = [&](const Arithmetic& a) {
    return 2 * static_cast<double>(a.rows) * weights / flops(a);
  };
  const std::vector<Arithmetic>& known = cost.arithmetic;
  size_t above = 0;
  while (above < known.size() && static_cast<double>(known[above].rows) < rows) ++above;
  if (above == 0 || above == known.size()) {
    return 2 * rows * weights / flops(known[above == 0 ? 0 : above - 1]);
  }
  const Arithmetic& a = known[above - 1];
  const Arithmetic& b = known[above];
  const double part = (rows - static_cast<double>(a.rows)) / static_cast<double>(b.rows - a.rows);
  return seconds(a) + part * (seconds(b) - seconds(a));
}

}  // namespace mneme::plan
