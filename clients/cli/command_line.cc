#include "clients/cli/command_line.h"

#include <algorithm>
#include <cstdio>
#include <vector>

#include "clients/cli/flags.h"

namespace mneme::cli {
namespace {

void PrintHelp(std::span<const Verb> verbs, std::ostream& out) {
  out << "mneme: low-latency text generation from sparse-memory language models\n\n"
         "usage: mneme VERB [FLAGS] [ARGUMENTS]\n\nverbs:\n";
  for (const Verb& verb : verbs) {
    std::string name = verb.name;
    name.resize(std::max<size_t>(name.size(), 12), ' ');
    out << "  " << name << verb.summary << "\n";
  }
  out << "\n`mneme VERB --help` lists a verb's flags. `mneme --version` prints the version.\n";
}

}  // namespace

int RunCommandLine(std::span<const Verb> verbs, const std::string& executable,
                   std::span<const std::string> arguments, std::istream& in, std::ostream& out,
                   std::ostream& err) {
  if (arguments.empty()) {
    PrintHelp(verbs, err);
    return kExitUsage;
  }
  const std::string& name = arguments[0];
  if (name == "--help" || name == "-h" || name == "help") {
    PrintHelp(verbs, out);
    return 0;
  }
  if (name == "--version" || name == "version") {
    out << "mneme " << kVersion << "\n";
    return 0;
  }
  std::vector<std::string> names;
  for (const Verb& verb : verbs) {
    names.push_back(verb.name);
    if (name != verb.name) continue;
    const Invocation invocation{
        .arguments = std::vector<std::string>(arguments.begin() + 1, arguments.end()),
        .executable = executable,
        .in = in,
        .out = out,
        .err = err};
    return verb.run(invocation);
  }
  err << "mneme: unknown verb '" << name << "'";
  if (const auto nearest = NearestWord(name, names)) {
    err << "; did you mean '" << *nearest << "'?" << std::endl;
  } else {
    err << "; `mneme --help` lists them" << std::endl;
  }
  return kExitUsage;
}

}  // namespace mneme::cli
