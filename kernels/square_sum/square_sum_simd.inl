#include "kernels/simd/sum_of_squares.inl"

inline Traffic SquareSum(const SquareSumArgs& args) {
  for (int64_t t = 0; t < args.x.rows; ++t) {
    *args.y.row(t) = SumOfSquares(args.x.row(t), args.x.cols);
  }
  return SquareSumTraffic(args);
}
