#include "ops/resize.h"

#include <gtest/gtest.h>

#include "testing/golden.h"

namespace fovea {
namespace {

TEST(ResizeOp, MatchesPyTorch) {
  testing::ExpectGolden("resizes", 5e-6f, 0.06f, [](const nlohmann::json& attributes, const testing::NamedTensors& in) {
    const ResizeOptions options{.mode = attributes["mode"] == "bicubic" ? ResizeMode::kBicubic : ResizeMode::kBilinear,
                                .align_corners = attributes["align_corners"],
                                .antialias = attributes["antialias"]};
    return Resize2d(in.at("x"), attributes["size"].get<std::array<int64_t, 2>>(), options);
  });
}

TEST(ResizeOp, Gradients) {
  const Tensor x = testing::RandomNormal({2, 4, 5, 3}, 1);
  for (const ResizeMode mode : {ResizeMode::kBilinear, ResizeMode::kBicubic}) {
    for (const bool antialias : {false, true}) {
      testing::ExpectGradientsMatch(
          [&](const std::vector<Tensor>& in) {
            return Resize2d(in[0], {7, 2}, {.mode = mode, .antialias = antialias});
          },
          {x});
    }
  }
}

TEST(ResizeOp, SameSizeIsTheIdentity) {
  const Tensor x = testing::RandomNormal({1, 6, 3, 2}, 2);
  testing::ExpectClose(Resize2d(x, {6, 3}, {.mode = ResizeMode::kBicubic}), x, 1e-6f);
  testing::ExpectClose(Resize2d(x, {6, 3}, {.align_corners = true}), x, 1e-6f);
}

TEST(ResizeOp, RefusesImpossibleSizes) {
  const Tensor x = Tensor::Zeros({1, 2, 2, 1});
  testing::ExpectError([&] { Resize2d(x, {0, 2}); }, "[resize2d] expected a size > 0, got 0 x 2");
  testing::ExpectError(
      [&] {
        Resize2d(x, {1, 2}, {.align_corners = true, .antialias = true});
      },
      "antialias or align_corners");
}

}  // namespace
}  // namespace fovea
