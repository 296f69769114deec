#include "engine/plan/plan_report.h"
#include "nlohmann/json.hpp"

namespace mneme::plan {

std::string ReportJson(const PlanReport& r) {
  using Json = nlohmann::ordered_json;
  Json json = {{"model", r.model},
               {"architecture", r.architecture},
               {"cluster", Json::parse(ClusterJson(r.cluster))}};
  json["memory"] = {{"shared_by_all_ranks", r.cluster.shared_memory},
                    {"weight_bytes", r.weight_bytes},
                    {"kv_bytes", r.kv_bytes},
                    {"kv_positions", r.kv_positions},
                    {"register_bytes", r.register_bytes}};
  json["steps"] = Json::array();
  for (const StepReport& s : r.steps) {
    json["steps"].push_back({{"name", s.name},
                             {"tokens", s.shape.tokens},
                             {"sequences", s.shape.sequences},
                             {"context", s.shape.context},
                             {"seconds", s.seconds},
                             {"mean_seconds", s.mean_seconds},
                             {"exchange_seconds", s.exchange_seconds},
                             {"read_bytes", s.read_bytes},
                             {"sent_bytes", s.sent_bytes}});
    Json& otherwise = json["steps"].back()["otherwise"] = Json::array();
    for (const OtherLayout& o : s.otherwise) {
      otherwise.push_back({{"name", o.name}, {"layout", o.layout}});
    }
  }
  json["exchanges"] = Json::array();
  for (const ExchangeReport& e : r.exchanges) {
    json["exchanges"].push_back({{"tensor", e.tensor},
                                 {"axis", e.axis},
                                 {"kind", e.kind},
                                 {"times", e.times},
                                 {"seconds", e.seconds},
                                 {"bytes", e.bytes}});
  }
  json["operators"] = Json::array();
  for (const OperatorReport& o : r.operators) {
    Json op = {{"name", o.name},     {"kind", o.kind},       {"times", o.times},
               {"layout", o.layout}, {"seconds", o.seconds}, {"mean_seconds", o.mean_seconds},
               {"bytes", o.bytes}};
    if (!o.runner_up.empty()) {
      op["runner_up"] = {{"layout", o.runner_up}, {"step_seconds", o.runner_up_seconds}};
    }
    json["operators"].push_back(std::move(op));
  }
  return json.dump(2) + "\n";
}

}  // namespace mneme::plan
