#include <iostream>
#include <string>
#include <vector>

#include "clients/cli/command_line.h"
#include "clients/cli/verbs.h"
#include "loader/files/mapping_registry.h"

int main(int argc, char** argv) {
  mneme::loader::ReportMappingFaults();
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  return mneme::cli::RunCommandLine(mneme::cli::kVerbs, argv[0], arguments, std::cin, std::cout,
                                    std::cerr);
}
