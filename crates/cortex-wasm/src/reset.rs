use crate::error::Error;
use crate::guest::Guest;
use crate::memory::{GlobalImage, Image, Way};
use crate::module::{Common, Module, ResetPlan};
use std::sync::Arc;

/// How an instance becomes as new between those who use it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reset {
    /// In the way that was the cheapest so far: its memory and its globals are set back, or another instance takes its
    /// place. See [`Module::reset_plan`] for what a module allows.
    #[default]
    Adaptive,
    /// Not at all, unless it broke off: for one tenant that trusts itself. What one call leaves behind the next one
    /// finds.
    Never,
}

/// What an instance was when it began.
pub(crate) struct Snapshot {
    images: Arc<[Arc<Image>]>,
    globals: GlobalImage,
}

impl Snapshot {
    /// Takes it, if the module lets it be put back.
    pub(crate) fn capture(guest: &mut Guest, module: &Module) -> Result<Option<Self>, Error> {
        if !matches!(module.reset_plan(), ResetPlan::Restore { .. }) {
            return Ok(None);
        }
        // What host functions have kept by now, a guest that begins is to find.
        if guest
            .runner
            .linkage()
            .is_some_and(|(linkage, store)| linkage.has_data(store))
        {
            return Ok(None);
        }
        let globals = GlobalImage::capture(&guest.globals, guest.runner.store());
        Ok(Some(Self {
            images: images(guest, module.common())?,
            globals,
        }))
    }

    /// Returns the ways back to it, and that to another instance.
    pub(crate) fn ways(&self) -> &'static [Way] {
        let is_file = |image: &Arc<Image>| image.ways().contains(&Way::Discard);
        if self.images.iter().any(is_file) {
            &[Way::Discard, Way::Copy, Way::Reinstantiate]
        } else {
            &[Way::Copy, Way::Reinstantiate]
        }
    }

    /// Puts it back.
    pub(crate) fn restore(&self, guest: &mut Guest, way: Way) -> Result<(), Error> {
        let store = guest.runner.store_mut();
        for (memory, image) in guest.memories.iter().zip(&*self.images) {
            image.restore(memory, store, way)?;
        }
        self.globals.restore(store);
        Ok(())
    }
}

/// Returns the images of its memories: those that another instance has, where it began alike.
fn images(guest: &mut Guest, common: &Common) -> Result<Arc<[Arc<Image>]>, Error> {
    let known = common.images();
    let store = guest.runner.store_mut();
    let mut images = Vec::with_capacity(guest.memories.len());
    let mut is_known = known.is_some();
    for (index, memory) in guest.memories.iter().enumerate() {
        if let Some(image) = known.as_ref().and_then(|known| known.get(index))
            && image.adopt(memory, store)?
        {
            images.push(Arc::clone(image));
        } else {
            is_known = false;
            images.push(Arc::new(Image::capture(memory, store)?));
        }
    }
    if let (true, Some(known)) = (is_known, known) {
        return Ok(known);
    }
    let images: Arc<[_]> = images.into();
    common.keep(&images);
    Ok(images)
}
