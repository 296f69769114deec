// Invariants:
// 1. A bucket's state is the states of all entries side by side, each of rules.live(i) places; an
//    entry that cannot go on is all ones.
// 2. Labels of one bucket do not dominate each other: none is at most the other in bytes and in the
//    seconds of every entry.
// 3. A node's parents lead to the beginning of its stretch, one option per operator.
#include "engine/plan/layout_search.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace mneme::plan {
namespace {

constexpr char16_t kDead = 0xffff;

// A way through a stretch of operators.
struct Way {
  int32_t node = -1;
  double bytes = 0;
  std::vector<double> seconds;  // by entry; kNever: it cannot be entered so
  std::vector<State> exits;     // by entry
};

struct Label {
  int32_t node = -1;
  double bytes = 0;
  std::vector<double> seconds;
};

struct Bucket {
  State state;
  std::vector<Label> labels;
};

// Searches stretches of operators and remembers how their labels came about.
class Explorer {
 public:
  Explorer(const Search& search, const std::vector<std::vector<size_t>>& allowed, bool bytes)
      : search_(search),
        rules_(search.rules),
        allowed_(allowed),
        bytes_(bytes),
        rest_(allowed.size() + 1, 0) {
    for (size_t i = allowed.size(); i-- > 0;) {
      double least = kNever;
      for (size_t option : allowed[i]) least = std::min(least, Seconds(i, option));
      rest_[i] = rest_[i + 1] + least;
    }
  }

  // The ways through a stretch that may be part of a choice within the bound. times: how often it
  // is passed. budget: bytes that one pass may take. all: it is entered in none but these states.
  std::vector<Way> Explore(size_t begin, size_t end, size_t times,
                           const std::vector<State>& entries, bool all, double budget) {
    // Some pass takes no more than its share; one from another state more only by the exchanges of
    // what it finds. Sums in another order may differ in their last bits.
    const double elsewhere = rest_[0] - static_cast<double>(times) * (rest_[begin] - rest_[end]);
    seconds_limit_ = (search_.bound * (1 + 1e-9) - elsewhere) / static_cast<double>(times) +
                     (all ? 0 : rules_.EntrySeconds(begin));
    end_ = end;
    State start;
    for (const State& entry : entries) start += entry;
    std::vector<Bucket> buckets = {{start, {{-1, 0, std::vector<double>(entries.size(), 0)}}}};
    for (size_t i = begin; i < end; ++i) buckets = Step(i, buckets, entries.size(), budget);
    std::vector<Way> ways;
    for (Bucket& bucket : buckets) {
      for (Label& label : bucket.labels) {
        Way way{label.node, label.bytes, std::move(label.seconds), {}};
        const size_t width = rules_.live(end);
        for (size_t e = 0; e < entries.size(); ++e) {
          way.exits.push_back(bucket.state.substr(e * width, width));
        }
        ways.push_back(std::move(way));
      }
    }
    return ways;
  }

  int64_t labels() const { return static_cast<int64_t>(nodes_.size()); }

  // The options that led to a way, in order.
  std::vector<size_t> Trace(int32_t node) const {
    std::vector<size_t> options;
    for (; node >= 0; node = nodes_[node].parent) options.push_back(nodes_[node].option);
    std::reverse(options.begin(), options.end());
    return options;
  }

 private:
  struct Node {
    int32_t parent;
    uint32_t option;
  };

  double Seconds(size_t i, size_t option) const { return rules_.price(i, option).seconds; }

  std::vector<Bucket> Step(size_t i, const std::vector<Bucket>& buckets, size_t entries,
                           double budget) {
    const size_t width = rules_.live(i);
    const size_t next_width = rules_.live(i + 1);
    const std::vector<size_t>& allowed = allowed_[i];
    std::vector<double> seconds, bytes;
    for (size_t option : allowed) {
      seconds.push_back(Seconds(i, option));
      bytes.push_back(bytes_ ? search_.memory.OptionBytes(i, option) : 0);
    }
    std::vector<Bucket> next;
    std::unordered_map<State, size_t> places;
    std::vector<double> added(entries);
    State state;
    const double rest = rest_[i + 1] - rest_[end_];
    for (const Bucket& bucket : buckets) {
      const auto [sooner, smaller] = LeastOf(bucket);
      for (size_t k = 0; k < allowed.size(); ++k) {
        if (sooner + seconds[k] + rest > seconds_limit_ || smaller + bytes[k] > budget) continue;
        if (!Enter(i, allowed[k], bucket.state, {entries, width, next_width}, &state, &added)) {
          continue;
        }
        const auto [it, inserted] = places.try_emplace(state, next.size());
        if (inserted) next.push_back({state, {}});
        for (const Label& label : bucket.labels) {
          if (label.bytes + bytes[k] > budget) continue;
          double soonest = kNever;
          for (size_t e = 0; e < entries; ++e) {
            soonest = std::min(soonest, label.seconds[e] + added[e] + seconds[k]);
          }
          if (soonest + rest > seconds_limit_) continue;
          Label after{label.node, label.bytes + bytes[k], label.seconds};
          for (size_t e = 0; e < entries; ++e) after.seconds[e] += added[e] + seconds[k];
          Insert(std::move(after), static_cast<uint32_t>(allowed[k]), &next[it->second].labels);
        }
      }
    }
    std::erase_if(next, [](const Bucket& bucket) { return bucket.labels.empty(); });
    return next;
  }

  // The least seconds and the least bytes of a bucket's labels.
  static std::pair<double, double> LeastOf(const Bucket& bucket) {
    std::pair<double, double> least = {kNever, kNever};
    for (const Label& label : bucket.labels) {
      for (double seconds : label.seconds) least.first = std::min(least.first, seconds);
      least.second = std::min(least.second, label.bytes);
    }
    return least;
  }

  struct Widths {
    size_t entries, before, after;
  };
  // Every entry through one operator; false when none can go on.
  bool Enter(size_t i, size_t option, const State& from, const Widths& w, State* to,
             std::vector<double>* added) {
    bool any = false;
    to->clear();
    for (size_t e = 0; e < w.entries; ++e) {
      const size_t begin = e * w.before;
      if (e == 0 || from.compare(begin, w.before, from, begin - w.before, w.before) != 0) {
        now_.assign(from, begin, w.before);
        const bool dead = !now_.empty() && now_[0] == kDead;
        (*added)[e] = dead ? kNever : rules_.Apply(i, option, &now_, &after_);
        if ((*added)[e] == kNever) after_.assign(w.after, kDead);
      } else {
        (*added)[e] = (*added)[e - 1];
      }
      any = any || (*added)[e] < kNever;
      *to += after_;
    }
    return any;
  }

  static bool Dominates(const Label& a, const Label& b) {
    if (a.bytes > b.bytes) return false;
    for (size_t e = 0; e < a.seconds.size(); ++e) {
      if (a.seconds[e] > b.seconds[e]) return false;
    }
    return true;
  }
  void Insert(Label label, uint32_t option, std::vector<Label>* labels) {
    for (const Label& other : *labels) {
      if (Dominates(other, label)) return;
    }
    std::erase_if(*labels, [&](const Label& other) { return Dominates(label, other); });
    nodes_.push_back({label.node, option});
    label.node = static_cast<int32_t>(nodes_.size()) - 1;
    labels->push_back(std::move(label));
  }

  const Search& search_;
  const LayoutRules& rules_;
  const std::vector<std::vector<size_t>>& allowed_;
  const bool bytes_;
  // By operator: the least seconds of it and all behind it, without exchanges.
  std::vector<double> rest_;
  double seconds_limit_ = kNever;  // of the stretch that is explored
  size_t end_ = 0;                 // of that stretch
  std::vector<Node> nodes_;
  State now_, after_;  // of Enter
};

// Entries of the repeated stretch and of what follows it: states, each once.
size_t Number(const State& state, std::vector<State>* states) {
  const auto it = std::find(states->begin(), states->end(), state);
  if (it != states->end()) return static_cast<size_t>(it - states->begin());
  states->push_back(state);
  return states->size() - 1;
}

// One assignment of stored layouts: what comes before the repeated stretch, the stretch, the rest.
class OneSearch {
 public:
  OneSearch(const Search& search, const std::vector<std::vector<size_t>>& allowed, bool bytes,
            double budget)
      : search_(search),
        r_(search.repetition),
        budget_(budget),
        explorer_(search, allowed, bytes) {}

  Found Run() {
    const size_t count = search_.rules.operators();
    const bool repeats = r_.count > 0;
    before_ = explorer_.Explore(0, repeats ? r_.begin : 0, 1, {State()}, true, budget_);
    for (const Way& way : before_) Number(way.exits[0], &entries_);
    if (repeats) {
      const std::vector<State> behind = search_.rules.StatesBehind(r_.end() - 1);
      for (const State& state : behind) Number(state, &entries_);
      size_t known = 0;
      while (known < entries_.size()) {
        known = entries_.size();
        body_ = explorer_.Explore(r_.begin, r_.begin + r_.period, r_.count, entries_,
                                  !behind.empty(), budget_ / static_cast<double>(r_.count));
        for (const Way& way : body_) {
          for (size_t e = 0; e < known; ++e) {
            if (way.seconds[e] < kNever) Number(way.exits[e], &entries_);
          }
        }
      }
    }
    after_ = explorer_.Explore(repeats ? r_.end() : 0, count, 1, entries_, true, budget_);
    for (const Way& way : before_) {
      const size_t e = Number(way.exits[0], &entries_);
      if (!repeats) {
        Finish(way, nullptr, e, way.seconds[0], way.bytes);
        continue;
      }
      for (const Way& body : body_) Repeat(way, body, e);
    }
    found_.labels = explorer_.labels();
    return found_;
  }

 private:
  void Repeat(const Way& before, const Way& body, size_t e) {
    double seconds = before.seconds[0];
    for (size_t j = 0; j < r_.count; ++j) {
      seconds += body.seconds[e];
      if (seconds >= found_.seconds) return;
      e = Number(body.exits[e], &entries_);
    }
    Finish(before, &body, e, seconds, before.bytes + static_cast<double>(r_.count) * body.bytes);
  }

  void Finish(const Way& before, const Way* body, size_t e, double seconds, double bytes) {
    for (const Way& after : after_) {
      if (after.seconds[e] == kNever || bytes + after.bytes > budget_) continue;
      const double all = seconds + after.seconds[e] + search_.rules.Finish(after.exits[e]);
      if (all >= found_.seconds) continue;
      found_.seconds = all;
      found_.bytes = bytes + after.bytes;
      found_.options = explorer_.Trace(before.node);
      if (body != nullptr) {
        const std::vector<size_t> block = explorer_.Trace(body->node);
        for (size_t j = 0; j < r_.count; ++j) {
          found_.options.insert(found_.options.end(), block.begin(), block.end());
        }
      }
      const std::vector<size_t> rest = explorer_.Trace(after.node);
      found_.options.insert(found_.options.end(), rest.begin(), rest.end());
    }
  }

  const Search& search_;
  const Repetition& r_;
  const double budget_;
  Explorer explorer_;
  std::vector<State> entries_;
  std::vector<Way> before_, body_, after_;
  Found found_;
};

// Layouts of the weights with several readers, with which each operator has an option.
struct Storage {
  std::vector<std::vector<size_t>> allowed;
  double bytes = 0;    // of these weights
  double seconds = 0;  // of the fastest options, without exchanges
};

std::vector<Storage> Storages(const Search& search) {
  const auto& shared = search.memory.shared();
  std::vector<Storage> storages;
  std::vector<size_t> chosen(shared.size(), 0);
  for (;;) {
    Storage storage{search.allowed, 0, 0};
    bool possible = true;
    for (size_t w = 0; w < shared.size(); ++w) {
      storage.bytes += shared[w].bytes[chosen[w]];
      for (const auto& [i, operand] : shared[w].readers) {
        std::erase_if(storage.allowed[i], [&, reader = i](size_t option) {
          return !search.memory.CanRead(reader, option, w, shared[w].layouts[chosen[w]]);
        });
        possible = possible && !storage.allowed[i].empty();
      }
    }
    if (possible) {
      for (size_t i = 0; i < storage.allowed.size(); ++i) {
        double least = kNever;
        for (size_t option : storage.allowed[i]) {
          least = std::min(least, search.rules.price(i, option).seconds);
        }
        storage.seconds += least;
      }
      storages.push_back(std::move(storage));
    }
    size_t w = 0;
    while (w < shared.size() && ++chosen[w] == shared[w].layouts.size()) chosen[w++] = 0;
    if (w == shared.size()) return storages;
  }
}

}  // namespace

Found FindLayouts(const Search& search) {
  std::vector<Storage> storages = Storages(search);
  // The sooner a good one is found, the less is looked at behind it.
  std::stable_sort(storages.begin(), storages.end(),
                   [](const Storage& a, const Storage& b) { return a.seconds < b.seconds; });
  Found best;
  int64_t labels = 0;
  for (const Storage& storage : storages) {
    if (storage.bytes > search.memory_bytes || storage.seconds >= best.seconds) continue;
    Search better = search;
    better.bound = std::min(search.bound, best.seconds);
    // Most often the fastest plan fits, and its bytes need no labels.
    Found found = OneSearch(better, storage.allowed, /*bytes=*/false, kNever).Run();
    labels += found.labels;
    if (found.seconds >= best.seconds) continue;
    found.bytes = Evaluate(search.rules, search.memory, found.options).bytes;
    if (found.bytes > search.memory_bytes) {
      const double left = search.memory_bytes - storage.bytes;
      found = OneSearch(better, storage.allowed, /*bytes=*/true, left).Run();
      found.bytes += storage.bytes;
      labels += found.labels;
    }
    if (found.seconds < best.seconds) best = std::move(found);
  }
  best.labels = labels;
  return best;
}

double LeastBytes(const Search& search) {
  double least = kNever;
  for (const Storage& storage : Storages(search)) {
    double bytes = storage.bytes;
    for (size_t i = 0; i < storage.allowed.size(); ++i) {
      double of_operator = kNever;
      for (size_t option : storage.allowed[i]) {
        of_operator = std::min(of_operator, search.memory.OptionBytes(i, option));
      }
      bytes += of_operator;
    }
    least = std::min(least, bytes);
  }
  return least;
}

Found Evaluate(const LayoutRules& rules, const MemoryAccount& memory,
               const std::vector<size_t>& options) {
  if (!memory.Agree(options)) return {options, kNever, 0, 0};
  Found found{options, 0, memory.SharedBytes(options), 0};
  State state, next;
  for (size_t i = 0; i < options.size() && found.seconds < kNever; ++i) {
    const double exchanges = rules.Apply(i, options[i], &state, &next);
    found.seconds += exchanges + rules.price(i, options[i]).seconds;
    found.bytes += memory.OptionBytes(i, options[i]);
    state = next;
  }
  if (found.seconds < kNever) found.seconds += rules.Finish(state);
  return found;
}

}  // namespace mneme::plan
