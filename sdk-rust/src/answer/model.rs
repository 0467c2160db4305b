//! Another model.

use outrigger_proto::types::v1 as types;
use outrigger_proto::types::v1::hook_result::Result as Shape;

use super::{Opinion, sealed};

/// The model to use, for `before_model_resolve`. Of several plugins the first that sets a field wins.
pub type ModelOverride = Opinion<types::ModelOverride>;

impl ModelOverride {
    /// This model, an id of 1 to 256 characters.
    #[must_use]
    pub fn model(self, model: impl Into<String>) -> Self {
        self.with(|wire| wire.model = Some(model.into()))
    }

    /// This provider, an id of 1 to 256 characters.
    #[must_use]
    pub fn provider(self, provider: impl Into<String>) -> Self {
        self.with(|wire| wire.provider = Some(provider.into()))
    }
}

impl sealed::Wire for types::ModelOverride {
    fn wrap(self) -> Shape {
        Shape::Model(self)
    }

    fn unwrap(shape: Shape) -> Option<Self> {
        if let Shape::Model(wire) = shape { Some(wire) } else { None }
    }
}
