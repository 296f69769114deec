#include "engine/graph/moe_layer.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace mneme::graph {

int32_t AddMoeLayer(const loader::ModelDescription& model, int32_t block, int32_t u,
                    GraphBuilder* builder) {
  using loader::Role;
  const loader::MoeDescription& moe = *model.moe;
  const std::string prefix = absl::StrCat("block.", block, ".");
  const int32_t logits = builder->Linear(
      prefix + "router.logits", u, builder->Matrix({Role::kRouter, block}, moe.experts, model.dim));
  const int32_t expert = builder->NewTensor(prefix + "router.expert", moe.top_k, v1::I32);
  const int32_t weight = builder->NewTensor(prefix + "router.weight", moe.top_k);
  v1::Attributes::Router* router =
      builder->Add(prefix + "router", v1::ROUTER, {logits}, {}, {expert, weight})
          .attributes.mutable_router();
  router->set_top_k(static_cast<int32_t>(moe.top_k));
  router->set_renormalise(moe.renormalise);
  for (int32_t tensor : {expert, weight}) {
    builder->graph().trace[builder->graph().tensors[tensor].name] = tensor;
  }

  const int32_t gate =
      builder->Stack({Role::kExpertGate, block}, moe.experts, moe.hidden, model.dim);
  const int32_t up = builder->Stack({Role::kExpertUp, block}, moe.experts, moe.hidden, model.dim);
  const int32_t down =
      builder->Stack({Role::kExpertDown, block}, moe.experts, model.dim, moe.hidden);
  const int32_t y = builder->NewTensor(prefix + "experts", model.dim);
  builder->Add(prefix + "experts", v1::EXPERTS, {u, expert, weight}, {gate, up, down}, {y})
      .attributes.mutable_experts()
      ->set_experts(static_cast<int32_t>(moe.experts));
  return y;
}

}  // namespace mneme::graph
